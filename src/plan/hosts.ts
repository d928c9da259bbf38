/** What the pool knows of a host, and what a lease of hosts is. Plain data that crosses processes. */
import type { Priority } from '../spec/run.js';

/** What an agent says of its host when it registers. */
export interface HostFacts {
  readonly name: string;
  /** The address at which the other hosts of a gang reach this one. */
  readonly address: string;
  /** Made once for the agent's work root, whose lock lets one agent live: another id under the same name is another host. */
  readonly workRootId: string;
  readonly machineId: string;
  /** Changes at every boot of the machine: a process of another boot cannot be alive. */
  readonly bootId: string;
  readonly npus: number;
  readonly runtime: 'cpu' | 'ascend';
  readonly agentPid: number;
  /** When this agent process started, ISO 8601. */
  readonly agentStartedAt: string;
  readonly version: string;
  /** The highest fence number that the host has seen: a pool that was started anew goes on above it. */
  readonly fence: number;
  /** Who had the host's last lease, while a trainer of it still runs there: a pool that was started anew does not grant it. */
  readonly held: LeaseOwner | null;
}

/** What an agent has found when it last looked at its host; short, since the pool keeps it of all. */
export interface HostHealth {
  /** Epoch milliseconds by the host's clock; a look that finds the same does not change it. */
  readonly since: number;
  /** Nothing refuses the host. */
  readonly isFit: boolean;
  /** What refuses the host first; each a sentence with its rule. */
  readonly findings: readonly string[];
}

/** Who holds a host: one generation of one gang, for the life of the run id. */
export interface LeaseOwner {
  readonly workflowId: string;
  readonly firstRunId: string;
  readonly generation: number;
}

/** The pool's promise of a host to a gang. The agent refuses work under a fence number lower than one that it has seen. */
export interface Lease {
  readonly host: HostFacts;
  readonly fence: number;
}

/** Something that speaks against a host itself, not against what was run on it. */
export interface HostFault {
  readonly host: string;
  /** A failure type of the contract, or `HostLost`. */
  readonly failure: string;
  readonly message: string;
}
/** A fault as the pool remembers it; epoch milliseconds. */
export interface NotedFault extends Omit<HostFault, 'host'> {
  readonly at: number;
  /** The workflow whose gang met it; null when nobody held the host. */
  readonly metBy: string | null;
}

/** A cordoned host is not granted; who holds it keeps it, unless it drains. Epoch milliseconds. */
export interface Cordon {
  readonly reason: string;
  readonly since: number;
  /** A quarantine ends by itself; what an operator has set, or a run that found the host bad, does not. */
  readonly until: number | null;
  /** The workflow whose gang met the fault; null when an operator has set it. */
  readonly metBy: string | null;
  /** Who holds the host is asked to save and to give it back. */
  readonly drains?: true;
}

/** Pool to the owner of a lease: one of its hosts is to be given back, so all are. */
export interface HostDrain {
  readonly host: string;
  /** Of the lease that is to end. */
  readonly fence: number;
  readonly reason: string;
}

export interface HostView {
  readonly facts: HostFacts;
  readonly live: boolean;
  readonly fence: number;
  readonly owner: LeaseOwner | null;
  /** Why the host must be proven empty before it is granted; null when it has been since its last lease. */
  readonly vacating: Vacating | null;
  readonly cordon: Cordon | null;
  /** Of the last day, oldest first. */
  readonly faults: readonly NotedFault[];
  /** Left out until its agent has told. */
  readonly health?: HostHealth;
}
export interface Vacating {
  readonly why: string;
  /** The workflow that held it last. */
  readonly heldBy: string | null;
  /** How the last try to prove it empty failed. */
  readonly failure: string | null;
}

export interface HostRequest {
  readonly owner: LeaseOwner;
  readonly hosts: number;
  readonly npusPerHost: number;
  readonly runtime: 'cpu' | 'ascend';
  /** Work that has begun goes before work that has not: a gang that lost a host does not queue again behind others. */
  readonly hasBegun: boolean;
  /** Hosts of the gang before, which have their part of the commit on their disks. They are taken first where they are free. */
  readonly prefer?: readonly string[];
  /** Hosts that are suspected: they are taken only where no others are free. */
  readonly avoid?: readonly string[];
  /** Left out, normal. Nothing that runs is interrupted for a request of a higher one. */
  readonly priority?: Priority;
}
export interface HostGrant {
  readonly owner: LeaseOwner;
  /** By node rank. */
  readonly leases: readonly Lease[];
}
export interface HostRelease {
  readonly owner: LeaseOwner;
  readonly faults: readonly HostFault[];
}

/** A gang's word that a host is bad, by comparison with others. */
export interface HostBlame {
  readonly metBy: string;
  readonly fault: HostFault;
}

/** All that the pool is: it crosses every continue-as-new. */
export interface Pool {
  readonly hosts: readonly HostView[];
  /** In the order in which they are granted. */
  readonly queue: readonly HostRequest[];
  /** When the pool last met a host that it did not know, or began; epoch milliseconds. */
  readonly joinedAt: number;
}

export function isSameOwner(a: LeaseOwner, b: LeaseOwner): boolean {
  return a.workflowId === b.workflowId && a.firstRunId === b.firstRunId && a.generation === b.generation;
}

export function isOwnedBy(host: HostView, owner: LeaseOwner): boolean {
  return host.owner !== null && isSameOwner(host.owner, owner);
}

/** In a word what the host is there for, beside whether its agent is heard. */
export function hostStatus({
  owner,
  vacating,
  cordon,
}: HostView): 'leased' | 'draining' | 'vacating' | 'cordoned' | 'quarantined' | 'free' {
  if (owner !== null) return cordon?.drains === true ? 'draining' : 'leased';
  if (vacating !== null) return 'vacating';
  if (cordon !== null) return cordon.until === null ? 'cordoned' : 'quarantined';
  return 'free';
}

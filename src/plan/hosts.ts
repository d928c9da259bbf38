/** What the pool knows of a host, and what a lease of hosts is. Plain data that crosses processes. */

/** What an agent says of its host when it starts. */
export interface HostFacts {
  readonly name: string;
  /** The address at which the other hosts of a gang reach this one. */
  readonly address: string;
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
}

/** Who holds a host: one generation of one gang, for the life of the run id. */
export interface LeaseOwner {
  readonly workflowId: string;
  readonly firstRunId: string;
  readonly generation: number;
}

/** The pool's promise of a host to a gang. The agent refuses a launch with a fence number lower than one it has seen. */
export interface Lease {
  readonly host: HostFacts;
  readonly fence: number;
}

export interface HostView {
  readonly facts: HostFacts;
  readonly live: boolean;
  readonly fence: number;
  readonly owner: LeaseOwner | null;
}

export interface HostRequest {
  readonly owner: LeaseOwner;
  readonly hosts: number;
  readonly npusPerHost: number;
  readonly runtime: 'cpu' | 'ascend';
}
export interface HostGrant {
  readonly generation: number;
  /** By node rank. */
  readonly leases: readonly Lease[];
}

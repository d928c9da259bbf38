/** What the parts of a generation share: the gang itself, and how it broke. */
import { CancellationScope, CancelledFailure, isCancellation } from '@temporalio/workflow';
import type { CompleteSave, Restored, TrainRankResult } from '../contract/activities.js';
import type { TrainGangInput } from '../contract/messages.js';
import type { HostDrain, Lease, LeaseOwner } from '../plan/hosts.js';
import type { Commit } from '../plan/run-log.js';
import type { NodeFailure } from '../plan/verdict.js';
import { failureFacts } from './failure.js';
import type { GangView } from './gang-view.js';

export interface Generation {
  readonly input: TrainGangInput;
  readonly generation: number;
  readonly owner: LeaseOwner;
  /** By node rank. */
  readonly leases: readonly Lease[];
  readonly from: Commit | undefined;
  readonly reached: Reached;
  /** Of the rendezvous of this run's generations so far: whoever still dials one of them must meet nobody. */
  readonly ports: Set<number>;
  /** What it goes on from is looked through for numbers that are not finite. */
  readonly checkFinite: boolean;
  /** Records a save that is whole, and drops the commits that are too old by it. */
  readonly commit: (save: CompleteSave) => Promise<void>;
  readonly view: GangView;
}

/** How far trainers have come by their own words, which their ends tell: an end that is a failure, a stop, or the end of the work. */
export class Reached {
  /** The furthest that any generation before this one has come. */
  before: number;
  /** The furthest that anybody has told of in this generation. */
  here: number;

  constructor(iteration: number) {
    this.before = iteration;
    this.here = iteration;
  }

  /** A generation begins, from the commit of this iteration. */
  begin(from: number): void {
    this.before = Math.max(this.before, this.here, from);
    this.here = from;
  }

  hear(iteration: number): void {
    this.here = Math.max(this.here, iteration);
  }
}

/** Why a generation ended before the last iteration: how each node that failed did so. */
export class GangBroken extends Error {
  readonly failures: readonly NodeFailure[];
  /** By the workflow's clock: what its end takes counts towards its cost. */
  readonly foundAt: number;
  /** Whether its hosts have brought to the store what they know of it. */
  readonly hasEvidence: boolean;

  constructor(failures: readonly NodeFailure[], foundAt = Date.now(), hasEvidence = false) {
    super(failures.map(({ host, message }) => `${host}: ${message}`).join(' '));
    this.failures = failures;
    this.foundAt = foundAt;
    this.hasEvidence = hasEvidence;
  }
}

/** Why a lease ended before its work: one of its hosts is to be given back. Nobody is at fault, and no budget counts it. */
export class HostDrained extends Error {
  readonly drain: HostDrain;
  /** When it was asked for, by the workflow's clock. */
  readonly at = Date.now();

  constructor(drain: HostDrain) {
    super(`It is drained: ${drain.reason}`);
    this.drain = drain;
  }
}

/**
 * Waits for all, then throws what failed, by node; a cancellation from outside goes through as it is. For hosts that are `lost`
 * nobody waits: they may never tell.
 */
export async function throwBroken(
  gang: Generation,
  work: readonly (Promise<TrainRankResult> | Promise<Restored | null>)[],
  how: {
    readonly first?: readonly NodeFailure[];
    readonly lost?: ReadonlyMap<number, NodeFailure>;
    readonly foundAt?: number;
    readonly hasEvidence?: boolean;
  } = {},
): Promise<void> {
  const { first = [], lost = new Map<number, NodeFailure>(), foundAt, hasEvidence } = how;
  const ends = await Promise.allSettled(work.map((one, nodeRank) => (lost.has(nodeRank) ? Promise.resolve() : one)));
  // Of a gang that was asked to end, every node that fails does so by that: a trainer may be faster than its own cancel.
  if (CancellationScope.current().consideredCancelled && ends.some(({ status }) => status === 'rejected'))
    throw new CancelledFailure('The gang was asked to end.');
  const failures = ends.flatMap((end, nodeRank): NodeFailure[] => {
    const told = lost.get(nodeRank);
    if (told !== undefined) return [told];
    if (end.status === 'fulfilled') return [];
    const host = hostOf(gang, nodeRank);
    if (isCancellation(end.reason))
      return [{ host, nodeRank, type: 'Stopped', message: 'It was stopped with the gang.' }];
    const { type, ...facts } = failureFacts(end.reason);
    return [{ host, nodeRank, type: type === 'NotPickedUp' ? 'HostLost' : type, ...facts }];
  });
  for (const { iteration = 0 } of [...first, ...failures]) gang.reached.hear(iteration);
  // A rank that ended well may have come further than those that failed: a training of which only one node reports iterations.
  for (const end of ends)
    if (end.status === 'fulfilled' && end.value && 'iteration' in end.value) gang.reached.hear(end.value.iteration);
  if (first.length + failures.length > 0) throw new GangBroken([...first, ...failures], foundAt, hasEvidence);
}

export function hostOf(gang: Generation, nodeRank: number): string {
  return gang.leases[nodeRank]?.host.name ?? 'unknown host';
}

/** What the parts of a generation share: the gang itself, and how it broke. */
import { CancellationScope, isCancellation } from '@temporalio/workflow';
import type { CompleteSave } from '../contract/activities.js';
import type { TrainGangInput } from '../contract/messages.js';
import type { Lease, LeaseOwner } from '../plan/hosts.js';
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
  /** The furthest that any generation before this one has come. */
  readonly reachedIteration: number;
  /** What it goes on from is looked through for numbers that are not finite. */
  readonly checkFinite: boolean;
  /** Records a save that is whole, and drops the commits that are too old by it. */
  readonly commit: (save: CompleteSave) => Promise<void>;
  readonly view: GangView;
}

/** Why a generation ended before the last iteration: how each node that failed did so. */
export class GangBroken extends Error {
  readonly failures: readonly NodeFailure[];
  readonly reachedIteration: number;
  /** By the workflow's clock: what its end takes counts towards its cost. */
  readonly foundAt: number;

  constructor(failures: readonly NodeFailure[], fromIteration: number, foundAt = Date.now()) {
    super(failures.map(({ host, message }) => `${host}: ${message}`).join(' '));
    this.failures = failures;
    this.foundAt = foundAt;
    this.reachedIteration = Math.max(fromIteration, ...failures.map(({ iteration = 0 }) => iteration));
  }
}

/** Waits for all, then throws what failed, by node; a cancellation from outside goes through as it is. */
export async function throwBroken(
  gang: Generation,
  work: readonly Promise<unknown>[],
  { first = [], foundAt }: { readonly first?: readonly NodeFailure[]; readonly foundAt?: number } = {},
): Promise<void> {
  const ends = await Promise.allSettled(work);
  if (CancellationScope.current().consideredCancelled) {
    const cancelled = ends.find((end) => end.status === 'rejected' && isCancellation(end.reason));
    if (cancelled?.status === 'rejected') throw cancelled.reason;
  }
  const failures = ends.flatMap((end, nodeRank): NodeFailure[] => {
    if (end.status === 'fulfilled') return [];
    const host = hostOf(gang, nodeRank);
    if (isCancellation(end.reason))
      return [{ host, nodeRank, type: 'Stopped', message: 'It was stopped with the gang.' }];
    const { type, ...facts } = failureFacts(end.reason);
    return [{ host, nodeRank, type: type === 'NotPickedUp' ? 'HostLost' : type, ...facts }];
  });
  if (first.length + failures.length > 0)
    throw new GangBroken([...first, ...failures], gang.from?.iteration ?? 0, foundAt);
}

export function hostOf(gang: Generation, nodeRank: number): string {
  return gang.leases[nodeRank]?.host.name ?? 'unknown host';
}

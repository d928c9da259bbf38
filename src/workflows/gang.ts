/** What the parts of a generation share: the gang itself, and how it broke. */
import { CancellationScope, isCancellation } from '@temporalio/workflow';
import type { CompleteSave } from '../contract/activities.js';
import type { GangState, TrainGangInput } from '../contract/messages.js';
import type { Lease } from '../plan/hosts.js';
import type { Commit } from '../plan/run-log.js';
import type { NodeFailure } from '../plan/verdict.js';
import { failureFacts } from './failure.js';

export interface Generation {
  readonly input: TrainGangInput;
  readonly generation: number;
  /** By node rank. */
  readonly leases: readonly Lease[];
  readonly from: Commit | undefined;
  /** Records a save that is whole, and drops the commits that are too old by it. */
  readonly commit: (save: CompleteSave) => Promise<void>;
  readonly show: (change: Partial<GangState>) => void;
}

/** Why a generation ended before the last iteration: how each node that failed did so. */
export class GangBroken extends Error {
  readonly failures: readonly NodeFailure[];
  readonly reachedIteration: number;

  constructor(failures: readonly NodeFailure[], fromIteration: number) {
    super(failures.map(({ host, message }) => `${host}: ${message}`).join(' '));
    this.failures = failures;
    this.reachedIteration = Math.max(fromIteration, ...failures.map(({ iteration = 0 }) => iteration));
  }
}

/** Waits for all, then throws what failed, by node; a cancellation from outside goes through as it is. */
export async function throwBroken(
  gang: Generation,
  work: readonly Promise<unknown>[],
  first: readonly NodeFailure[] = [],
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
  if (first.length + failures.length > 0) throw new GangBroken([...first, ...failures], gang.from?.iteration ?? 0);
}

export function hostOf(gang: Generation, nodeRank: number): string {
  return gang.leases[nodeRank]?.host.name ?? 'unknown host';
}

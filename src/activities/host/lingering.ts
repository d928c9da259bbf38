/** Ends a launcher that stays when its work is done: torchrun waits five minutes for a peer that could not say goodbye. */
import { requestStop } from '../../process/trainer-files.js';
import { pause } from '../../process/wait.js';
import type { RankWork } from './rank-work.js';
import { LOOK_MS } from './trainer-log.js';

/** Nodes that all end well do so within a second or two of each other. */
const LINGER_MS = 10_000;

/**
 * A node whose part of the last save is shipped has nothing left to give: node 0 names that save when all ranks have closed their files, and
 * says itself that training is done. Rejects when `signal` ends it with the trainer.
 */
export async function endLingering(
  { deps, input, plan, dir, log, shipper }: RankWork,
  signal: AbortSignal,
): Promise<void> {
  const isDone = (): boolean =>
    shipper.shippedIteration >= plan.gang.iterations && (input.nodeRank > 0 || log.phase === 'done');
  while (!isDone()) await pause(LOOK_MS, signal);
  await pause(LINGER_MS, signal);
  await requestStop(dir, { graceMs: deps.graceSeconds * 1000 });
}

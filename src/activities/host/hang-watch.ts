/** Watches whether a trainer that lives still gets on, and says when it does not: its gang ends it then, nobody here does. */
import { hangSentence, quietLimitSeconds } from '../../plan/hang.js';
import { monotonicSeconds, pause } from '../../process/wait.js';
import { failure } from '../fail.js';
import type { RankWork } from './rank-work.js';
import { LOOK_MS } from './trainer-log.js';

/** An agent that was frozen along with its trainer wakes with a clock that has run on: time in which it did not look does not count. */
const LONGEST_LOOK_SECONDS = 4 * (LOOK_MS / 1000);

/** Rejects with `Hung` once the trainer has been still for too long, and never settles otherwise. `signal` ends it with the trainer. */
export async function watchForHang({ deps, input, plan, log }: RankWork, signal: AbortSignal): Promise<never> {
  const { nodeRank } = input;
  const isReporting = plan.gang.reportingNode === nodeRank;
  let moves = log.moves;
  let quiet = 0;
  let looked = monotonicSeconds();
  while (await goesOn(signal)) {
    const now = monotonicSeconds();
    quiet = log.moves === moves ? quiet + Math.min(now - looked, LONGEST_LOOK_SECONDS) : 0;
    [moves, looked] = [log.moves, now];
    const { phase, iteration, secondsPerIteration } = log;
    const limit = quietLimitSeconds({ phase, nodeRank, isReporting, secondsPerIteration }, plan.limits);
    if (limit === undefined || quiet <= limit) continue;
    const sentence = hangSentence(phase, iteration, quiet, limit);
    throw failure('Hung', `Host ${deps.facts.name}, node ${String(nodeRank)}: ${sentence}`, {
      ...{ iteration, at: Math.round(Date.now() - quiet * 1000), tail: log.lines.slice(-20) },
    });
  }
  return new Promise<never>(() => undefined);
}

async function goesOn(signal: AbortSignal): Promise<boolean> {
  return pause(LOOK_MS, signal).then(
    () => true,
    () => false,
  );
}

/** What a trainer's end means: ship what it saved, then judge by evidence, never by its exit code. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExitVerdict } from '../../backends/backend.js';
import type { TrainRankResult } from '../../contract/activities.js';
import type { FailureType } from '../../contract/failures.js';
import type { TrainerEnd } from '../../process/supervisor.js';
import { monotonicSeconds, pause } from '../../process/wait.js';
import { failure } from '../fail.js';
import type { RankWork } from './rank-work.js';

/** Other nodes hear of the last save through the store; node 0 writes it within a second of the tracker's move. */
const LAST_SAVE_SECONDS = 120;
/** A failed gang's saves are worth a moment: what is complete becomes a commit, the rest is trained again. */
const LEFT_OVER_SECONDS = 10;

const FAILURE_OF: Readonly<Record<Exclude<ExitVerdict['kind'], 'completed' | 'left'>, FailureType>> = {
  stopped: 'TrainerFailed',
  'out-of-memory': 'OutOfMemory',
  'loss-diverged': 'LossDiverged',
  'checkpoint-missing': 'CheckpointDamaged',
  killed: 'TrainerFailed',
  'peer-lost': 'PeerLost',
  'trainer-error': 'TrainerFailed',
  'refused-arguments': 'RefusedArguments',
};

/** Ships, judges, and answers with a function that returns the result or throws the failure, so that a stop can outrank both. */
export async function endOfTraining(work: RankWork, end: TrainerEnd): Promise<() => TrainRankResult> {
  const { deps, input, plan, backend, dir, log, shipper } = work;
  const { iterations } = plan.gang;
  if (end.state === 'lost') {
    return () => {
      throw failure('SupervisorLost', `Host ${deps.facts.name}: ${end.message}`);
    };
  }
  const tracker = backend.parseTracker(await readFile(join(dir, 'save', backend.trackerFile), 'utf8').catch(() => ''));
  const { nodeRank } = input;
  const verdict = backend.classifyExit({ exit: end.exit, lines: log.lines, nodeRank, tracker, iterations });
  const isWell = verdict.kind === 'completed' || verdict.kind === 'left';
  const wanted = isWell ? iterations : tracker.kind === 'iteration' ? tracker.iteration : await newestSave(work);
  const deadline = monotonicSeconds() + (isWell ? LAST_SAVE_SECONDS : LEFT_OVER_SECONDS);
  while (shipper.shippedIteration < wanted && monotonicSeconds() < deadline) await pause(100);
  return () => {
    if (verdict.kind !== 'completed' && verdict.kind !== 'left')
      // What we stopped after another node's end is never the cause of that end.
      throw failure(
        end.exit.reason === 'stopped' ? 'StaleGeneration' : FAILURE_OF[verdict.kind],
        `Host ${deps.facts.name}, node ${String(nodeRank)}: ${verdict.message}`,
        {
          iteration: log.iteration,
          tail: log.lines.slice(-20),
        },
      );
    if (shipper.shippedIteration < iterations)
      throw failure(
        'TrainerFailed',
        `Host ${deps.facts.name}: the trainer ended well, but iteration ${String(iterations)} was not named and shipped ` +
          `within ${String(LAST_SAVE_SECONDS)} s; the last shipped is ${String(shipper.shippedIteration)}.`,
      );
    return { iteration: log.iteration, ...(log.loss === undefined ? {} : { loss: log.loss }) };
  };
}

/** Only node 0 has a tracker; the others go by their newest folder, which node 0 may be about to name. */
async function newestSave({ backend, dir }: RankWork): Promise<number> {
  const names = await readdir(join(dir, 'save')).catch(() => []);
  return Math.max(0, ...names.map((name) => backend.parseIterationFolder(name) ?? 0));
}

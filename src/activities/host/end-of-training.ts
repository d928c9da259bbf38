/** What a trainer's end means: ship what it saved, then judge by evidence, never by its exit code. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExitVerdict, Tracker } from '../../backends/backend.js';
import type { TrainRankResult } from '../../contract/activities.js';
import type { FailureType } from '../../plan/failures.js';
import type { NotFinite } from '../../plan/divergence.js';
import type { Plan } from '../../plan/plan.js';
import type { TrainerEnd } from '../../process/supervisor.js';
import { exists } from '../../process/trainer-files.js';
import { monotonicSeconds, pause } from '../../process/wait.js';
import { isStoreError } from '../../storage/errors.js';
import { failure } from '../fail.js';
import { kernelBefore, kernelEvidence } from './kernel-evidence.js';
import { plogTexts } from './plogs.js';
import { measured, type RankWork } from './rank-work.js';

/** A save that cannot be shipped though the store answers will not be shippable later either. */
const STUCK_SECONDS = 120;
/** A failed gang's saves are worth a moment: what is complete becomes a commit, the rest is trained again. */
export const LEFT_OVER_SECONDS = 10;

const FAILURE_OF: Readonly<Record<Exclude<ExitVerdict['kind'], 'completed' | 'left'>, FailureType>> = {
  'supervisor-lost': 'SupervisorLost',
  stopped: 'TrainerFailed',
  'out-of-memory': 'OutOfMemory',
  'out-of-host-memory': 'OutOfHostMemory',
  'loss-diverged': 'LossDiverged',
  'checkpoint-missing': 'CheckpointDamaged',
  'host-broken': 'HostBroken',
  'host-suspect': 'HostSuspect',
  'host-full': 'HostFull',
  'link-failed': 'LinkFailed',
  'setup-wrong': 'SetupWrong',
  killed: 'TrainerFailed',
  'peer-lost': 'PeerLost',
  'trainer-error': 'TrainerFailed',
  'refused-arguments': 'RefusedArguments',
};

/**
 * Ships, judges, and answers with a function that returns the result or throws the failure, so that a stop can outrank both. A
 * training that is done waits for its last save for as long as the store takes; `hurry` is the end of that patience.
 */
export async function endOfTraining(
  work: RankWork,
  end: TrainerEnd,
  hurry: { readonly seconds?: number },
  signal: AbortSignal,
): Promise<() => TrainRankResult> {
  const { deps, input, plan, backend, dir, log, shipper } = work;
  const { iterations } = plan.gang;
  const tracker = backend.parseTracker(await readFile(join(dir, 'save', backend.trackerFile), 'utf8').catch(() => ''));
  const { nodeRank } = input;
  const verdict = await judge(work, end, tracker);
  const isWell = verdict.kind === 'completed' || verdict.kind === 'left';
  const newest = tracker.kind === 'iteration' ? tracker.iteration : await newestSave(work);
  // Whoever has not written its part of the last save has not trained to the end, whatever its exit code; unless a stop of its peer has
  // taken it along, of which its own activity hears within seconds.
  const writes = plan.gang.checkpointFiles.some(({ writtenBy }) => writtenBy === nodeRank);
  const isEarly = verdict.kind === 'left' && writes && newest < iterations;
  // Node 0 names a save when all ranks have closed their files of it. After the last one nothing is left to fail at, and whose peers leave
  // first may well end with an error.
  const isDone = (): boolean =>
    isWell || (nodeRank > 0 && verdict.kind !== 'loss-diverged' && shipper.isNamed(iterations));
  // A trainer that its peer took along when that one was asked to stop has ended well, and is not at its last iteration.
  const wanted = (): number => (isWell && hurry.seconds === undefined ? iterations : newest);
  let since = monotonicSeconds();
  // Bounded: by what is below, by a stop of the gang, and by the end of the attempt.
  while (shipper.shippedIteration < wanted()) {
    const isPatient = isDone() && hurry.seconds === undefined;
    // The others ship too, and node 0 names no more than two at once: waiting for them and for the store is no standstill.
    if (isPatient && !isEarly && !isStuck(shipper.problem)) since = monotonicSeconds();
    const patience = isEarly ? deps.graceSeconds : STUCK_SECONDS;
    const limit = isPatient ? patience : (hurry.seconds ?? LEFT_OVER_SECONDS);
    if (monotonicSeconds() - since > limit) break;
    await pause(100, signal);
  }
  return () => {
    if (verdict.kind !== 'completed' && verdict.kind !== 'left' && !isDone())
      throw failure(
        isStoppedEcho(end, verdict.kind) ? 'StaleGeneration' : FAILURE_OF[verdict.kind],
        `Host ${deps.facts.name}, node ${String(nodeRank)}: ${verdict.message}`,
        {
          iteration: log.iteration,
          ...(end.state === 'exited' ? { at: Date.parse(end.exit.at) } : {}),
          tail: log.lines.slice(-20),
          ...('notFinite' in verdict ? { notFinite: onNodes(verdict.notFinite, plan) } : {}),
        },
      );
    if (isEarly)
      throw failure(
        'TrainerFailed',
        `Host ${deps.facts.name}, node ${String(nodeRank)}: the trainer ended without a word, but has saved iteration ` +
          `${String(newest)} of ${String(iterations)}.`,
        {
          iteration: newest,
          ...(end.state === 'exited' ? { at: Date.parse(end.exit.at) } : {}),
          tail: log.lines.slice(-20),
        },
      );
    if (shipper.shippedIteration < iterations)
      throw failure(
        'TrainerFailed',
        `Host ${deps.facts.name}: the trainer ended well, but iteration ${String(iterations)} could not be shipped ` +
          `for ${String(STUCK_SECONDS)} s (${String(shipper.problem)}); the last shipped is ${String(shipper.shippedIteration)}.`,
      );
    return { iteration: log.iteration, ...measured(work) };
  };
}

async function judge(
  { backend, dir, log, input, plan }: RankWork,
  end: TrainerEnd,
  tracker: Tracker,
): Promise<ExitVerdict> {
  const isLost = end.state === 'lost';
  const exit = isLost ? ({ reason: 'supervisor-lost', rc: null } as const) : end.exit;
  const at = isLost ? Date.now() : Date.parse(end.exit.at);
  // Who has ended well has nothing to explain.
  const [plogs, kernel] = await Promise.all([plogTexts(dir), exit.rc === 0 ? undefined : kernelEvidence(dir)]);
  const verdict = backend.classifyExit({
    ...{ exit, lines: log.lines, nodeRank: input.nodeRank, tracker, iterations: plan.gang.iterations },
    plog: backend.plogErrors(plogs, at),
    ...(kernel === undefined ? {} : { kernel: kernelBefore(kernel, at) }),
  });
  return isLost && verdict.kind !== 'out-of-host-memory' ? { kind: 'supervisor-lost', message: end.message } : verdict;
}

/** What we stopped after another node's end is never the cause of that end, unless it said itself what was wrong before. */
function isStoppedEcho(end: TrainerEnd, kind: ExitVerdict['kind']): boolean {
  return end.state === 'exited' && end.exit.reason === 'stopped' && kind === 'stopped';
}

function onNodes({ ranks, ...said }: NonNullable<ExitVerdict['notFinite']>, { gang }: Plan): NotFinite {
  const nodes = gang.ranks.filter(({ rank }) => ranks.includes(rank)).map(({ nodeRank }) => nodeRank);
  return {
    ...{ iteration: said.iteration, loss: said.loss, nodes: [...new Set(nodes)] },
    ...(said.gradNorm === undefined ? {} : { gradNorm: said.gradNorm }),
    ...(said.lossBefore === undefined ? {} : { lossBefore: said.lossBefore }),
  };
}

/** Whether the store answers, and still the last turn failed. */
function isStuck(problem: unknown): boolean {
  return problem !== undefined && !isStoreError(problem, 'Unavailable');
}

/** Only node 0 has a tracker; the others go by their newest save with all their files, which node 0 may be about to name. */
async function newestSave({ backend, dir, plan, input }: RankWork): Promise<number> {
  const folder = join(dir, 'save');
  const mine = plan.gang.checkpointFiles.filter(({ writtenBy }) => writtenBy === input.nodeRank);
  const iterationIfWhole = async (name: string): Promise<number> => {
    const there = await Promise.all(mine.map(({ path }) => exists(join(folder, name, path))));
    return there.includes(false) ? 0 : (backend.parseIterationFolder(name) ?? 0);
  };
  const names = await readdir(folder).catch(() => []);
  return Math.max(0, ...(await Promise.all(names.map(iterationIfWhole))));
}

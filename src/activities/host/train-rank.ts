/** One node's trainer from launch or adoption to its end. The activity observes; the supervisor owns; only a requested stop ends it. */
import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { CancelledFailure, Context } from '@temporalio/activity';
import { backendFor } from '../../backends/backend.js';
import type { NpuActivities, TrainProgress, TrainRankInput, TrainRankResult } from '../../contract/activities.js';
import { metricsLogName, trainLogName } from '../../contract/store-keys.js';
import { commandFrom, type Plan } from '../../plan/plan.js';
import { findTrainer, launchTrainer, sweep, waitForExit, type TrainerEnd } from '../../process/supervisor.js';
import { readExit, renewLease, requestStop, trainerDir } from '../../process/trainer-files.js';
import { monotonicSeconds, pause } from '../../process/wait.js';
import { failure, orFail } from '../fail.js';
import { beat } from './acknowledged-beats.js';
import type { HostDeps } from './deps.js';
import { endOfTraining, LEFT_OVER_SECONDS } from './end-of-training.js';
import type { HostFence } from './fence.js';
import { watchForHang } from './hang-watch.js';
import type { HostDoctor } from './host-doctor.js';
import { endLingering } from './lingering.js';
import { writeHeading } from './log-heading.js';
import { shipLog, type ShippedLog } from './log-shipper.js';
import { measuredLines } from './measured-lines.js';
import { BASE_FOLDER } from './older-generations.js';
import { measured, type RankWork } from './rank-work.js';
import { SaveShipper } from './save-shipper.js';
import { readStagedPlan } from './stage-in.js';
import { fillCommand, writePlannedFiles } from './stage-command.js';
import { LOOK_MS, TrainerLog } from './trainer-log.js';
import { cacheFolder, hostLockFile, tokenizerFolder, trainersFolder } from './work-folders.js';

/** How long the SDK may take to confirm a cancel that a beat has already told us of; without it the server refuses our word. */
const CONFIRM_MS = 10_000;

export function createTrainRank(
  deps: HostDeps,
  fence: HostFence,
  doctor: Pick<HostDoctor, 'versions'>,
): NpuActivities['trainRank'] {
  return (input) =>
    orFail(async () => {
      const dir = trainerDir(trainersFolder(deps.workRoot), input);
      const { plan, isAdopted, pid } = await fence.starting(input.fence, async () => {
        const staged = await readStagedPlan(dir);
        return { plan: staged, ...(await launchOrAdopt(deps, input, staged, dir, doctor.versions)) };
      });
      const backend = backendFor({ kind: plan.runtime });
      const folder = join(dir, 'save');
      const { store } = deps;
      const path = join(dir, 'trainer.log');
      const ship = (log: string, file: string, update?: () => Promise<void>): ShippedLog =>
        shipLog({ store, runId: input.runId, log, path: file, update });
      const printed = ship(trainLogName(input.generation, input.nodeRank), path);
      // The rank that reports iterations is on one node; what it measures is the run's.
      const isReporting = plan.gang.reportingNode === input.nodeRank;
      // Attempts can be beside each other for a while, and two must not write one file.
      const metricsFile = join(dir, backend.writesMetrics ? 'metrics.jsonl' : `metrics-${randomUUID()}.jsonl`);
      const update = backend.writesMetrics ? undefined : measuredLines(path, metricsFile, backend);
      const metrics = isReporting ? ship(metricsLogName(input.generation), metricsFile, update) : undefined;
      // Whoever comes next makes it anew out of the log.
      const endMetrics = async (): Promise<void> => {
        await metrics?.stop();
        if (!backend.writesMetrics) await rm(metricsFile, { force: true });
      };
      const shipper = new SaveShipper({ store, backend, gang: plan.gang, node: input, folder, metrics });
      const { resumeIteration, reachedIteration } = input;
      const { saveEveryIterations, iterations } = plan.gang;
      const saves = (iteration: number): boolean => iteration % saveEveryIterations === 0 || iteration >= iterations;
      const log = new TrainerLog({ path, backend, resumeIteration, reachedIteration, isAdopted, saves });
      const logs = [printed, { stop: endMetrics }];
      return observe({ deps, input, plan, backend, dir, isAdopted, log, shipper, logs, pid });
    });
}

/** Which trainer there is, once one was launched or found. */
interface Found {
  readonly isAdopted: boolean;
  /** Of its launcher, while it runs. */
  readonly pid: number | undefined;
}

/** At most one start per (run, generation, rank), ever; a trainer that is there is adopted, one that is lost is swept. */
async function launchOrAdopt(
  deps: HostDeps,
  input: TrainRankInput,
  plan: Plan,
  dir: string,
  versions: HostDoctor['versions'],
): Promise<Found> {
  const { runId, generation, nodeRank } = input;
  const { workRoot } = deps;
  const marker = { workRoot, runId, generation, nodeRank };
  const lockFile = hostLockFile(workRoot);
  const found = await findTrainer(dir, Context.current().cancellationSignal);
  if (found.state === 'running') return { isAdopted: true, pid: found.trainerPid };
  if (found.state === 'exited') return { isAdopted: false, pid: undefined };
  if (found.state === 'lost') {
    const report = await sweep({ dir, marker, lockFile });
    throw failure(report.gone ? 'SupervisorLost' : 'HostDirty', `${found.message} ${report.message}`);
  }
  const [first] = plan.stages.train.commands;
  if (first === undefined) throw failure('SpecInvalid', 'The plan has no command for training.');
  const command = commandFrom(first, input.resumeIteration);
  const values = {
    work: dir,
    load: join(dir, 'load'),
    converted: join(dir, BASE_FOLDER),
    save: join(dir, 'save'),
    trainerHome: deps.trainerHome,
    toolsHome: deps.toolsHome,
    masterAddress: input.masterAddress,
    masterPort: String(input.masterPort),
    nodeRank: String(nodeRank),
    dataset: cacheFolder(workRoot, input.inputs.dataset?.digest ?? ''),
    baseModel: tokenizerFolder(workRoot, input.inputs.model?.digest ?? ''),
  };
  await writePlannedFiles(plan.stages.train, values, dir);
  await renewLease(dir, monotonicSeconds());
  await writeHeading(join(dir, 'trainer.log'), {
    host: deps.facts.name,
    generation,
    nodeRank,
    runtime: plan.runtime,
    versions,
  });
  const launched = await launchTrainer({
    ...{ dir, lockFile, marker, ...fillCommand(deps, command, values) },
    leaseTtlMs: deps.leaseTtlSeconds * 1000,
    graceMs: deps.graceSeconds * 1000,
  });
  if (launched.kind === 'host-busy') {
    await endOlder(input, dir, launched.holder?.directory);
    throw failure('HostBusy', launched.message);
  }
  if (launched.kind === 'failed-to-start') throw failure('TrainerFailed', launched.message);
  return { isAdopted: false, pid: launched.kind === 'started' ? launched.trainerPid : undefined };
}

/** An older generation of this run has nothing to save any more; others on this host are their own runs' to end. */
async function endOlder({ generation }: TrainRankInput, dir: string, holder: string | undefined): Promise<void> {
  if (holder === undefined || dirname(dirname(holder)) !== dirname(dirname(dir))) return;
  if (Number(basename(dirname(holder))) < generation) await requestStop(holder, { graceMs: 0 });
}

async function observe(work: RankWork): Promise<TrainRankResult> {
  const { deps, dir, log, logs } = work;
  const working = new AbortController();
  const beats = beat({ client: deps.client, progress: () => progressOf(work), renew: (sent) => renewLease(dir, sent) });
  const shipping = shipWhile(work, working.signal);
  const hurry: { seconds?: number } = {};
  const living = new AbortController();
  const ending = (async () => {
    // Without a time-out it resolves only with an end.
    const end = (await waitForExit(dir, { signal: working.signal })) as TrainerEnd;
    // What it has left to ship may wait for a store that is away: that is no hang.
    living.abort();
    await log.end();
    return endOfTraining(work, end, hurry, working.signal);
  })();
  ending.catch(() => undefined);
  const hang = watchForHang(work, living.signal);
  hang.catch(() => undefined);
  endLingering(work, living.signal).catch(() => undefined);
  void log.hopeless.then(() => requestStop(dir, { graceMs: 0 })).catch(() => undefined);
  try {
    const first = await Promise.race([ending, beats.interrupted, hang]);
    if (typeof first === 'function') return first();
    if (first.kind === 'detach') throw detached(`Host ${deps.facts.name} lets go of the trainer: ${first.why}.`);
    // A trainer that is asked to save gets the time to ship it, and so does one that has followed its peer in good order; one that
    // has failed before belongs to a broken gang.
    const before = await readExit(dir);
    hurry.seconds = before === undefined || before.rc === 0 ? deps.graceSeconds : LEFT_OVER_SECONDS;
    await requestStop(dir, { graceMs: deps.graceSeconds * 1000 });
    await ending;
    throw await confirmedCancel();
  } finally {
    working.abort();
    living.abort();
    beats.end();
    await log.end();
    await Promise.all([shipping, ...logs.map((shipment) => shipment.stop())]);
  }
}

/** Ships saves beside the training. A store that is away delays commits; it does not end a training. */
async function shipWhile({ shipper }: RankWork, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await shipper.turn(signal).catch(() => undefined);
    await pause(LOOK_MS, signal).catch(() => undefined);
  }
}

function progressOf(work: RankWork): TrainProgress {
  const { deps, input, plan, log, shipper, pid } = work;
  return {
    host: deps.facts.name,
    at: Date.now(),
    phase: log.phase,
    generation: input.generation,
    // Only the reporting node hears iterations; the others know what they have shipped.
    iteration: Math.max(log.iteration, shipper.shippedIteration),
    iterations: plan.gang.iterations,
    ...measured(work),
    ...(work.isAdopted ? { adopted: true as const } : {}),
    quietSeconds: log.quietSeconds,
    shippedIteration: shipper.shippedIteration,
    ...(pid === undefined ? {} : { pid }),
  };
}

/** The SDK's own reason where it has one: a worker that shuts down must be reported as such. Never its TIMED_OUT, which the server refuses. */
function detached(message: string): Error {
  const context = Context.current();
  const reason: unknown = context.cancellationSignal.reason;
  const details = context.cancellationDetails;
  if (reason instanceof CancelledFailure && (details?.workerShutdown === true || details?.reset === true))
    return reason;
  return failure('Detached', message);
}

async function confirmedCancel(): Promise<Error> {
  const { cancellationSignal } = Context.current();
  const deadline = monotonicSeconds() + CONFIRM_MS / 1000;
  while (!cancellationSignal.aborted && monotonicSeconds() < deadline) {
    Context.current().heartbeat();
    await pause(100);
  }
  const reason: unknown = cancellationSignal.reason;
  return reason instanceof Error ? reason : new CancelledFailure('CANCELLED');
}

/** Everything that a node's trainer reads, verified and in place, before any trainer of the gang starts. */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { iterationFolder, RELEASE_FOLDER, TRACKER_FILE } from '../../backends/mindspeed/checkpoint.js';
import { backendFor } from '../../backends/backend.js';
import type { IoActivities, StageInInput } from '../../contract/activities.js';
import { type CheckpointFile, type Plan, resumesOnBase } from '../../plan/plan.js';
import { findFreePort } from '../../process/free-port.js';
import { exists, trainerDir } from '../../process/trainer-files.js';
import { stopTrainer } from '../../process/supervisor.js';
import { isStoreError } from '../../storage/errors.js';
import { materialize, partialOf, type Origins } from '../../storage/file-set.js';
import { failure, orFail, orHostFailure } from '../fail.js';
import { reporting, type Reporter } from '../progress.js';
import { readPlan } from '../run-documents.js';
import type { HostDeps } from './deps.js';
import type { HostFence } from './fence.js';
import { checkFinite } from './finite.js';
import type { HostDoctor } from './host-doctor.js';
import { storeBundle } from './incident-bundle.js';
import { bringTrainingInputs } from './inputs.js';
import { makeLoadFolder } from './load-folder.js';
import { BASE_FOLDER, forgetCheckpoints, olderGenerations } from './older-generations.js';
import { TrainerLog } from './trainer-log.js';
import { hostLockFile, trainersFolder } from './work-folders.js';

/** Beside the launch record of a generation. */
const STAGED_PLAN = 'plan.json';

/** The plan as it was staged in on this host. */
export async function readStagedPlan(dir: string): Promise<Plan> {
  return JSON.parse(await readFile(join(dir, STAGED_PLAN), 'utf8')) as Plan;
}

export function createStageIn(
  deps: HostDeps,
  fence: HostFence,
  doctor: HostDoctor,
): Pick<IoActivities, 'stageIn' | 'openRendezvous' | 'stopTrainer'> {
  const { workRoot, facts, store } = deps;
  return {
    stageIn: (input) =>
      orHostFailure(facts.name, () =>
        reporting(facts.name, async (reporter) => {
          await fence.open(input);
          const plan = await readPlan(store, input.runId);
          await bringTrainingInputs(deps, input.inputs, reporter);
          const dir = trainerDir(trainersFolder(workRoot), input);
          // An attempt that was frozen and thawed after its next one had ended well must not touch what the trainer writes.
          if (await exists(join(dir, 'record.json'))) return null;
          // An attempt before this one may have got anywhere; nothing of this generation runs yet.
          await rm(join(dir, 'save'), { recursive: true, force: true });
          await mkdir(join(dir, 'save'), { recursive: true });
          // A trainer is launched and adopted by what lies here, also while the store is away.
          await writeFile(join(dir, STAGED_PLAN), JSON.stringify(plan));
          const older = await olderGenerations(trainersFolder(workRoot), input);
          const origins = await load({ input, plan, dir, older }, reporter);
          await forgetCheckpoints(older);
          return origins;
        }),
      ),
    // Chosen at random among ten thousand: the one before may be held by what is just ending, or be in TIME_WAIT.
    openRendezvous: ({ exclude }) => orFail(async () => ({ port: await findFreePort({ exclude }) })),
    stopTrainer: (input) =>
      orFail(() =>
        reporting(facts.name, async ({ signal }) => {
          const dir = trainerDir(trainersFolder(workRoot), input);
          const { runId, generation, nodeRank } = input;
          const marker = { workRoot, runId, generation, nodeRank };
          // A broken gang cannot save any more, so it gets no grace.
          const place = { dir, marker, lockFile: hostLockFile(workRoot), graceMs: 0 };
          const report = await stopTrainer(place, signal);
          if (!report.gone) throw failure('HostDirty', `Host ${facts.name}: ${report.message}`);
          const stopped = report.killed.map(({ pid }) => pid);
          const iteration = await iterationOf(dir);
          if (!input.isBroken) return { stopped, iteration };
          const node = { runId, generation, nodeRank };
          return { stopped, iteration, evidence: await storeBundle({ store, host: facts.name, node, dir, doctor }) };
        }),
      ),
  };

  /** What this node's ranks read, and no more. */
  async function load(loading: Loading, reporter: Reporter): Promise<Origins> {
    const { input, plan, dir, older } = loading;
    const { resumeFrom, nodeRank } = input;
    const folder = join(dir, 'load');
    if (resumeFrom === null) return loadRelease(loading, folder, reporter);
    const name = iterationFolder(resumeFrom.iteration);
    const wanted = {
      only: filesOf(plan.gang.checkpointFiles, nodeRank),
      near: older.flatMap((one) => [join(one, 'save', name), ...whole(join(one, 'load', name))]),
    };
    const origins = await orDamaged(() => makeLoadFolder(deps, folder, resumeFrom, wanted, reporter));
    const shards = { node: input, iteration: resumeFrom.iteration, folder: join(folder, name), files: wanted.only };
    if (input.checkFinite) await checkFinite(deps, dir, shards, reporter);
    if (!resumesOnBase(plan)) return origins;
    return both(origins, await loadRelease(loading, join(dir, BASE_FOLDER), reporter));
  }

  /** The converted model as training begins from it: this node's ranks' files, and the tracker that says `release`. */
  async function loadRelease({ input, plan, older }: Loading, folder: string, reporter: Reporter): Promise<Origins> {
    const { converted } = input.inputs;
    if (converted === undefined)
      throw failure('ArtifactCorrupt', `Run ${input.runId} has no converted model to start from.`);
    const files = filesOf(plan.gang.releaseFiles, input.nodeRank).map((path) => `${RELEASE_FOLDER}/${path}`);
    const { say, signal } = reporter;
    const { origins } = await materialize(store, converted, folder, {
      only: [TRACKER_FILE, ...files],
      near: older.flatMap((one) => [...whole(join(one, 'load')), ...whole(join(one, BASE_FOLDER))]),
      ...{ signal, verify: 'full' },
      onProgress: ({ bytesDone, bytesTotal }) => {
        say({ message: 'brings the converted model', done: bytesDone, total: bytesTotal });
      },
    });
    return origins;
  }
}

/** Of a trainer that has ended; one that was never staged in has none. */
async function iterationOf(dir: string): Promise<number> {
  if (!(await exists(join(dir, STAGED_PLAN)))) return 0;
  const { runtime } = await readStagedPlan(dir);
  const path = join(dir, 'trainer.log');
  const backend = backendFor({ kind: runtime });
  const from = { resumeIteration: 0, reachedIteration: 0, isAdopted: false, saves: () => false };
  const log = new TrainerLog({ path, backend, ...from });
  await log.end();
  return log.iteration;
}

interface Loading {
  readonly input: StageInInput;
  readonly plan: Plan;
  /** Of this generation. */
  readonly dir: string;
  /** Folders of earlier generations on this host. */
  readonly older: readonly string[];
}

/** A commit whose files are not what its manifest says costs one commit, not the run. */
async function orDamaged<Result>(restore: () => Promise<Result>): Promise<Result> {
  try {
    return await restore();
  } catch (error) {
    if (isStoreError(error, 'NotFound') || isStoreError(error, 'DigestMismatch'))
      throw failure('CheckpointDamaged', error.message, undefined, error);
    throw error;
  }
}

const both = (one: Origins, other: Origins): Origins => ({
  localFiles: one.localFiles + other.localFiles,
  localBytes: one.localBytes + other.localBytes,
  downloadedFiles: one.downloadedFiles + other.downloadedFiles,
  downloadedBytes: one.downloadedBytes + other.downloadedBytes,
});

/** A copy, and what is whole in one that was cut off because another host of its gang was lost. */
const whole = (folder: string): readonly string[] => [folder, partialOf(folder)];

function filesOf(files: readonly CheckpointFile[], nodeRank: number): readonly string[] {
  return files.filter(({ readBy }) => readBy.includes(nodeRank)).map(({ path }) => path);
}

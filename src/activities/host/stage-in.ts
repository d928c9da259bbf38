/** Everything that a node's trainer reads, verified and in place, before any trainer of the gang starts. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { RELEASE_FOLDER, TRACKER_FILE } from '../../backends/mindspeed/checkpoint.js';
import type { IoActivities, StageInInput } from '../../contract/activities.js';
import type { CheckpointFile, Plan } from '../../plan/plan.js';
import { findFreePort } from '../../process/free-port.js';
import { trainerDir } from '../../process/trainer-files.js';
import { stopTrainer } from '../../process/supervisor.js';
import { materialize } from '../../storage/file-set.js';
import { failure, orFail } from '../fail.js';
import { reporting, type Reporter } from '../progress.js';
import { readPlan } from '../run-documents.js';
import type { HostDeps } from './deps.js';
import { passFence } from './fence.js';
import { bringInputs } from './inputs.js';
import { makeLoadFolder } from './load-folder.js';
import { hostLockFile, trainersFolder } from './work-folders.js';

export function createStageIn(deps: HostDeps): Pick<IoActivities, 'stageIn' | 'openRendezvous' | 'stopTrainer'> {
  const { workRoot, facts, store } = deps;
  return {
    stageIn: (input) =>
      orFail(() =>
        reporting(facts.name, async (reporter) => {
          await passFence(workRoot, facts.name, input.fence);
          const { gang } = await readPlan(store, input.runId);
          const { converted, ...read } = input.inputs;
          await bringInputs(deps, read, reporter);
          const dir = trainerDir(trainersFolder(workRoot), input);
          // An attempt before this one may have got anywhere; nothing of this generation runs yet.
          await rm(join(dir, 'save'), { recursive: true, force: true });
          await mkdir(join(dir, 'save'), { recursive: true });
          if (input.resumeFrom !== null) {
            const only = filesOf(gang.checkpointFiles, input.nodeRank);
            await makeLoadFolder(deps, join(dir, 'load'), input.resumeFrom, only, reporter);
          } else if (converted !== undefined) await loadRelease(input, gang, join(dir, 'load'), reporter);
          else throw failure('ArtifactCorrupt', `Run ${input.runId} has no converted model to start from.`);
        }),
      ),
    // A port of its own for each generation: the one before may be held by what is just ending, or be in TIME_WAIT.
    openRendezvous: () => orFail(async () => ({ port: await findFreePort() })),
    stopTrainer: (input) =>
      orFail(() =>
        reporting(facts.name, async ({ signal }) => {
          const dir = trainerDir(trainersFolder(workRoot), input);
          const { runId, generation, nodeRank } = input;
          // A broken gang cannot save any more, so it gets no grace.
          const place = { dir, marker: { runId, generation, nodeRank }, lockFile: hostLockFile(workRoot), graceMs: 0 };
          const report = await stopTrainer(place, signal);
          if (!report.gone) throw failure('HostDirty', `Host ${facts.name}: ${report.message}`);
          return { stopped: report.killed.map(({ pid }) => pid) };
        }),
      ),
  };

  /** The converted model at iteration 0: this node's ranks' files, and the tracker that says `release`. */
  async function loadRelease(
    { inputs: { converted }, nodeRank }: StageInInput,
    gang: Plan['gang'],
    folder: string,
    { say, signal }: Reporter,
  ): Promise<void> {
    if (converted === undefined) return;
    const only = [TRACKER_FILE, ...filesOf(gang.releaseFiles, nodeRank).map((path) => `${RELEASE_FOLDER}/${path}`)];
    await materialize(store, converted, folder, {
      only,
      signal,
      onProgress: ({ bytesDone, bytesTotal }) => {
        say({ message: 'brings the converted model', done: bytesDone, total: bytesTotal });
      },
    });
  }
}

function filesOf(files: readonly CheckpointFile[], nodeRank: number): readonly string[] {
  return files.filter(({ readBy }) => readBy.includes(nodeRank)).map(({ path }) => path);
}

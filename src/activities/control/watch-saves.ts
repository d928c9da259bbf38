/** Finds complete saves: node 0 has named the iteration, every node's manifest is there, and together they are the plan's files. */
import { CancelledFailure, Context } from '@temporalio/activity';
import type { Client } from '@temporalio/client';
import { iterationFolder, parseIterationFolder } from '../../backends/mindspeed/checkpoint.js';
import type { CompleteSave, ControlActivities, WatchSavesInput } from '../../contract/activities.js';
import { trainWorkflowId } from '../../contract/names.js';
import {
  checkpointManifestName,
  checkpointPrefix,
  generationFolder,
  nodeManifestName,
  savedName,
} from '../../contract/store-keys.js';
import type { GangPlan } from '../../plan/plan.js';
import { fileSetOf, type FileSet } from '../../storage/file-set.js';
import { canonicalJson, sha256Hex } from '../../storage/hashing.js';
import { parseManifest } from '../../storage/manifest.js';
import type { ObjectStore } from '../../storage/object-store.js';
import { failure, orFail } from '../fail.js';
import { readPlan } from '../run-documents.js';
import type { ControlDeps } from './deps.js';
import { gangWords } from './gang-words.js';

/** A commit waits this long at most after a save is complete; a save takes seconds at least. */
const LOOK_MS = 1000;

/** The heartbeat of a watcher. An attempt that fails by itself says so, hence one that has not was left by its worker. */
interface Watching {
  readonly hasFailed: boolean;
}

export function createWatchSaves({ store, client }: ControlDeps): ControlActivities['watchSaves'] {
  return (input) =>
    orFail(async () => {
      const context = Context.current();
      const before = context.info.heartbeatDetails as Watching | undefined;
      const isSuccessor = context.info.attempt > 1 && before?.hasFailed === false;
      try {
        const { gang } = await readPlan(store, input.runId);
        // Bounded by the activity's own limit and by cancellation, which `sleep` throws.
        for (;;) {
          context.heartbeat({ hasFailed: false } satisfies Watching);
          const complete = await nextComplete(store, gang, input);
          if (complete !== undefined) return await withWords(client, input, complete, isSuccessor);
          if (input.once) return null;
          await context.sleep(LOOK_MS);
        }
      } catch (error) {
        if (!(error instanceof CancelledFailure)) context.heartbeat({ hasFailed: true } satisfies Watching);
        throw error;
      }
    });
}

/** What the gang's workflow is told with a save, since it is told of it anyway. */
async function withWords(
  client: Client,
  { runId, generation }: WatchSavesInput,
  save: CompleteSave,
  isSuccessor: boolean,
): Promise<CompleteSave> {
  const words = await gangWords(client, trainWorkflowId(runId), generation);
  return {
    ...save,
    ...(words === undefined ? {} : { words }),
    ...(isSuccessor ? { workerReplaced: true as const } : {}),
  };
}

async function nextComplete(
  store: ObjectStore,
  gang: GangPlan,
  { runId, generation, afterIteration }: WatchSavesInput,
): Promise<CompleteSave | undefined> {
  const folder = generationFolder(runId, generation);
  const names = new Map<number, Set<string>>();
  for await (const { key } of store.list(folder)) {
    const [iterationName = '', ...rest] = key.slice(folder.length).split('/');
    const iteration = parseIterationFolder(iterationName);
    if (iteration !== undefined) names.set(iteration, (names.get(iteration) ?? new Set<string>()).add(rest.join('/')));
  }
  const nodes = Array.from({ length: gang.hosts }, (_, rank) => nodeManifestName(rank));
  const ready = [...names]
    .filter(
      ([iteration, there]) => iteration > afterIteration && [savedName, ...nodes].every((name) => there.has(name)),
    )
    .map(([iteration]) => iteration)
    .sort((a, b) => a - b);
  const [iteration] = ready;
  return iteration === undefined ? undefined : complete(store, gang, runId, generation, iteration);
}

/** Joins the nodes' manifests, checks them against the plan and the store, and writes the checkpoint's own manifest. */
async function complete(
  store: ObjectStore,
  gang: GangPlan,
  runId: string,
  generation: number,
  iteration: number,
): Promise<CompleteSave> {
  const prefix = checkpointPrefix(runId, generation, iteration);
  const parts: FileSet[] = [];
  for (let rank = 0; rank < gang.hosts; rank += 1) {
    const key = `${prefix}${nodeManifestName(rank)}`;
    parts.push(parseManifest((await store.read(key))?.toString('utf8') ?? '', `manifest ${key}`));
  }
  const whole = fileSetOf(parts.flatMap(({ files }) => files));
  const expected = gang.checkpointFiles.map(({ path }) => path).sort();
  const found = whole.files.map(({ path }) => path);
  if (canonicalJson(expected) !== canonicalJson([...found].sort()))
    throw failure(
      'CheckpointPartial',
      `${iterationFolder(iteration)} of generation ${String(generation)} holds ${found.join(', ')}, but the plan says ${expected.join(', ')}.`,
    );
  for (const { path, sizeBytes, sha256 } of whole.files) {
    const head = await store.head(`${prefix}${path}`);
    if (head?.sizeBytes !== sizeBytes || (head.sha256 !== undefined && head.sha256 !== sha256))
      throw failure('CheckpointPartial', `${prefix}${path} in ${store.url} is not what its node's manifest says.`);
  }
  const body = canonicalJson(whole);
  const manifestKey = `${prefix}${checkpointManifestName}`;
  if ((await store.create(manifestKey, body)) === 'different')
    throw failure('FactConflict', `${manifestKey} in ${store.url} has another body than the nodes' manifests give.`);
  return { iteration, checkpoint: { prefix, manifestKey, digest: sha256Hex(body) } };
}

/** Staging in: a generation's folders are emptied before its trainer starts and never after, and nothing is downloaded without need. */
import { chmod, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MockActivityEnvironment } from '@temporalio/testing';
import { beforeEach, describe, expect, test } from 'vitest';
import type { HostDeps } from '../../../src/activities/host/deps.js';
import { HostDoctor } from '../../../src/activities/host/host-doctor.js';
import { HostFence } from '../../../src/activities/host/fence.js';
import { createStageIn } from '../../../src/activities/host/stage-in.js';
import { trainersFolder } from '../../../src/activities/host/work-folders.js';
import { writeRunDocuments } from '../../../src/activities/run-documents.js';
import type { FileSetRef, Restored, StageInInput } from '../../../src/contract/activities.js';
import { checkpointManifestName, checkpointPrefix } from '../../../src/contract/store-keys.js';
import { LoraSpec } from '../../../src/spec/model.js';
import { inheritedEnvironment } from '../../../src/process/marker.js';
import { trainerDir } from '../../../src/process/trainer-files.js';
import { publishArtifact, publishFileSet, scanFolder } from '../../../src/storage/file-set.js';
import { StoreError } from '../../../src/storage/errors.js';
import { FolderStore } from '../../../src/storage/folder-store.js';
import type { FileTransferOptions } from '../../../src/storage/object-store.js';
import { demoPlan, demoSpec } from '../../support/demo-plan.js';
import { flipByte } from '../../support/run-files.js';
import { scratchFolder, writeTree } from '../../support/scratch.js';

/** Remembers which objects were brought to a disk; one of them may be away, and is missed when those before it are there. */
class CountingStore extends FolderStore {
  readonly brought: string[] = [];
  away: string | undefined;
  readonly #coming: Promise<void>[] = [];

  override async getFile(key: string, path: string, options: FileTransferOptions): Promise<void> {
    this.brought.push(key);
    if (this.away !== undefined && key.endsWith(this.away)) {
      await Promise.all(this.#coming);
      throw new StoreError('Unavailable', 'The store is away.');
    }
    const coming = super.getFile(key, path, options);
    this.#coming.push(coming);
    await coming;
  }
}

const plan = demoPlan();
let root: string;
let store: CountingStore;
let converted: FileSetRef;

beforeEach(async () => {
  root = await scratchFolder();
  store = new CountingStore(join(root, 'store'));
  await writeRunDocuments(store, 'run', demoSpec(), plan);
  const release = plan.gang.releaseFiles.map(({ path }) => [`release/${path}`, path] as const);
  await writeTree(join(root, 'converted'), {
    ...Object.fromEntries(release),
    'latest_checkpointed_iteration.txt': 'release',
  });
  converted = await publishArtifact(store, join(root, 'converted'));
});

type Ask = Partial<Pick<StageInInput, 'runId' | 'generation' | 'nodeRank' | 'resumeFrom' | 'inputs' | 'checkFinite'>>;

function inputOf({
  runId = 'run',
  generation = 1,
  nodeRank = 0,
  resumeFrom = null,
  inputs = { converted },
  checkFinite = false,
}: Ask): StageInInput {
  const owner = { workflowId: 'run/run/train', firstRunId: 'first', generation };
  return { runId, generation, nodeRank, fence: generation, owner, inputs, resumeFrom, checkFinite };
}

function dirOf(host: string, ask: Ask): string {
  return trainerDir(trainersFolder(join(root, host)), inputOf(ask));
}

/** As the agent of this host does; each has a work root of its own. */
function stageIn(host: string, ask: Ask): Promise<Restored | null> {
  const workRoot = join(root, host);
  const own = { runtimeBin: root, toolsHome: root, environment: inheritedEnvironment(process.env) };
  const deps = { store, workRoot, facts: { name: host }, ...own } as unknown as HostDeps; // all that it stands on
  const activities = createStageIn(deps, new HostFence(workRoot, host), new HostDoctor({ runtime: 'cpu', workRoot }));
  return new MockActivityEnvironment().run<[StageInInput], Restored | null, typeof activities.stageIn>(
    activities.stageIn,
    inputOf(ask),
  );
}

test('an attempt that comes when the trainer was launched already leaves what that has saved', async () => {
  const dir = dirOf('host-a', {});
  const saved = (): Promise<readonly string[]> => readdir(join(dir, 'save'));

  await stageIn('host-a', {});
  await writeFile(join(dir, 'save', 'of a trainer before'), '');
  await stageIn('host-a', {});
  expect(await saved()).toEqual([]);
  await writeFile(join(dir, 'save', 'of the trainer'), '');
  await writeFile(join(dir, 'record.json'), '{}');
  expect(await stageIn('host-a', {})).toBeNull();
  expect(await saved()).toEqual(['of the trainer']);
});

describe('a commit of generation 1', () => {
  const FOLDER = 'iter_0000020';
  let resumeFrom: NonNullable<StageInInput['resumeFrom']>;
  /** Sizes in bytes of what each node reads. */
  const bytesOf = (nodeRank: number): number => filesOf(nodeRank).reduce((sum, path) => sum + bodyOf(path).length, 0);

  const filesOf = (nodeRank: number): readonly string[] =>
    plan.gang.checkpointFiles.filter(({ readBy }) => readBy.includes(nodeRank)).map(({ path }) => path);
  const bodyOf = (path: string): string => path.repeat(path.length);

  beforeEach(async () => {
    await writeTree(
      join(root, 'saved'),
      Object.fromEntries(plan.gang.checkpointFiles.map(({ path }) => [path, bodyOf(path)])),
    );
    const prefix = checkpointPrefix('run', 1, 20);
    const manifestKey = `${prefix}${checkpointManifestName}`;
    const checkpoint = await publishFileSet(store, join(root, 'saved'), await scanFolder(join(root, 'saved')), {
      prefix,
      manifestKey,
    });
    resumeFrom = { iteration: 20, checkpoint };
    for (const [nodeRank, host] of ['host-a', 'host-b'].entries())
      await writeTree(
        join(dirOf(host, { nodeRank }), 'save', FOLDER),
        Object.fromEntries(filesOf(nodeRank).map((path) => [path, bodyOf(path)])),
      );
  });

  test('is restored by a survivor from what it has itself, without a download, from generation to generation', async () => {
    for (const generation of [2, 3]) {
      expect(await stageIn('host-b', { generation, nodeRank: 1, resumeFrom })).toEqual({
        ...{ localFiles: filesOf(1).length, localBytes: bytesOf(1) },
        ...{ downloadedFiles: 0, downloadedBytes: 0 },
      });
      for (const path of filesOf(1)) {
        const load = join(dirOf('host-b', { generation, nodeRank: 1 }), 'load', FOLDER);
        expect(await readFile(join(load, path), 'utf8')).toBe(bodyOf(path));
      }
    }
    expect(store.brought).toEqual([]);
  });

  test('is not downloaded again as far as a staging in came that was cut off', async () => {
    const missing = filesOf(0).at(-1)!;
    store.away = missing;
    await expect(stageIn('host-c', { generation: 2, resumeFrom })).rejects.toThrow();
    store.away = undefined;
    expect(store.brought.splice(0)).toHaveLength(filesOf(0).length);
    expect(await stageIn('host-c', { generation: 3, resumeFrom })).toMatchObject({ downloadedFiles: 1 });
    expect(store.brought).toEqual([`${resumeFrom.checkpoint.prefix}${missing}`]);
  });

  test('leaves no older checkpoint on the disk, but the records of older launches', async () => {
    const first = dirOf('host-b', { nodeRank: 1 });
    await writeFile(join(first, 'record.json'), '{}');
    await stageIn('host-b', { generation: 2, nodeRank: 1, resumeFrom });
    expect(await readdir(first)).toEqual(['record.json']);
  });

  test('is downloaded by a replacement, and no more of it than its ranks read', async () => {
    expect(await stageIn('host-c', { generation: 2, nodeRank: 1, resumeFrom })).toEqual({
      ...{ localFiles: 0, localBytes: 0 },
      ...{ downloadedFiles: filesOf(1).length, downloadedBytes: bytesOf(1) },
    });
    expect(store.brought.toSorted()).toEqual(
      filesOf(1)
        .map((path) => `${checkpointPrefix('run', 1, 20)}${path}`)
        .sort(),
    );
    expect(filesOf(1).length).toBeLessThan(plan.gang.checkpointFiles.length);
  });

  test.each([
    ['has another byte', flipByte],
    ['is cut', (path: string) => writeFile(path, 'cut')],
    ['is gone', (path: string) => rm(path)],
  ])('is downloaded where the copy on the host %s, that file alone', async (_, damage) => {
    const [first = ''] = filesOf(1);
    await damage(join(dirOf('host-b', { nodeRank: 1 }), 'save', FOLDER, first));
    expect(await stageIn('host-b', { generation: 2, nodeRank: 1, resumeFrom })).toMatchObject({
      localFiles: filesOf(1).length - 1,
      downloadedFiles: 1,
      downloadedBytes: bodyOf(first).length,
    });
    expect(store.brought).toEqual([`${checkpointPrefix('run', 1, 20)}${first}`]);
  });

  test('that is changed after it was restored is not believed by the next attempt', async () => {
    const ask = { generation: 2, nodeRank: 1, resumeFrom };
    await stageIn('host-b', ask);
    const [first = ''] = filesOf(1);
    await flipByte(join(dirOf('host-b', ask), 'load', FOLDER, first));
    expect(await stageIn('host-b', ask)).toMatchObject({ downloadedFiles: 1 });
  });

  test.each([
    ['finite', null, undefined],
    ['not finite', { file: 'f', tensor: 'model.t', bad: 2, elements: 9 }, 'CheckpointDamaged'],
  ])('whose numbers are %s, when that is asked for', async (_, found, failure) => {
    const python = join(root, 'python');
    // Stands in for the tool: it answers, and leaves what it was asked.
    await writeFile(
      python,
      `#!/bin/sh\nshift 3\nprintf '%s' '${JSON.stringify({ tensors: 1, found })}' > "$1"\nshift\necho "$@"\n`,
    );
    await chmod(python, 0o755);
    const ask = { generation: 2, nodeRank: 1, resumeFrom, checkFinite: true };
    const dir = dirOf('host-b', ask);
    const ended = await stageIn('host-b', ask).catch((error: unknown) => error);
    expect((ended as { type?: string }).type).toBe(failure);
    if (failure !== undefined) expect(String(ended)).toContain('2 of 9 in model.t of f');
    expect((await readFile(join(dir, 'finite.log'), 'utf8')).trim()).toBe(
      [join(dir, 'load', FOLDER), ...filesOf(1)].join(' '),
    );
  });

  test('is damaged when neither the host nor the store has it', async () => {
    const [first = ''] = filesOf(1);
    const object = join(root, 'store', checkpointPrefix('run', 1, 20), first);
    await chmod(object, 0o644);
    await flipByte(object);
    await expect(stageIn('host-c', { generation: 2, nodeRank: 1, resumeFrom })).rejects.toMatchObject({
      type: 'CheckpointDamaged',
    });
    expect(await stageIn('host-b', { generation: 2, nodeRank: 1, resumeFrom })).toMatchObject({ downloadedFiles: 0 });
  });
});

test('a commit of adapters comes with the converted model beside it, from the host as long as that has it', async () => {
  const spec = demoSpec();
  const lora = LoraSpec.parse({ rank: 4, alpha: 8 });
  const adapted = demoPlan({ ...spec, model: { ...spec.model, lora } });
  await writeRunDocuments(store, 'adapted', spec, adapted);
  const { checkpointFiles, releaseFiles } = adapted.gang;
  await writeTree(join(root, 'saved'), Object.fromEntries(checkpointFiles.map(({ path }) => [path, path])));
  const prefix = checkpointPrefix('adapted', 1, 20);
  const manifest = { prefix, manifestKey: `${prefix}${checkpointManifestName}` };
  const scanned = await scanFolder(join(root, 'saved'));
  const checkpoint = await publishFileSet(store, join(root, 'saved'), scanned, manifest);
  const resumeFrom = { iteration: 20, checkpoint };
  const mine = releaseFiles.filter(({ readBy }) => readBy.includes(1)).map(({ path }) => path);
  const saved = checkpointFiles.filter(({ readBy }) => readBy.includes(1)).length;

  await stageIn('host-b', { runId: 'adapted', nodeRank: 1 });
  store.brought.length = 0;
  for (const generation of [2, 3]) {
    const ask = { runId: 'adapted', nodeRank: 1, generation, resumeFrom };
    const origins = await stageIn('host-b', ask);
    // Adapters were never on this host; the model was, at first in the load folder, then beside one.
    const known = generation === 2 ? mine.length + 1 : mine.length + 1 + saved;
    expect(origins).toMatchObject({ localFiles: known, downloadedFiles: mine.length + 1 + saved - known });
    const base = join(dirOf('host-b', ask), 'base');
    expect(await readFile(join(base, 'latest_checkpointed_iteration.txt'), 'utf8')).toBe('release');
    for (const path of mine) expect(await readFile(join(base, 'release', path), 'utf8')).toBe(path);
    expect(await readdir(dirOf('host-b', { ...ask, generation: generation - 1 }))).not.toContain('base');
  }
  expect(await stageIn('host-c', { runId: 'adapted', nodeRank: 1, generation: 2, resumeFrom })).toMatchObject({
    downloadedFiles: mine.length + 1 + saved,
  });
});

test('of the base model a node brings what a trainer reads, not its weights', async () => {
  await writeTree(join(root, 'model'), {
    ...{ 'config.json': '{}', 'tokenizer.json': '{}', 'model.safetensors.index.json': '{}' },
    ...{ 'model-00001-of-00002.safetensors': 'w', 'model-00002-of-00002.safetensors': 'w', 'pytorch_model.bin': 'w' },
  });
  const model = await publishArtifact(store, join(root, 'model'));
  await stageIn('host-a', { inputs: { converted, model } });
  const brought = store.brought
    .filter((key) => key.startsWith(model.prefix))
    .map((key) => key.slice(model.prefix.length));
  expect(brought.toSorted()).toEqual(['config.json', 'model.safetensors.index.json', 'tokenizer.json']);
});

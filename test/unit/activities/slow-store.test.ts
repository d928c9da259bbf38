/** A store slower than the saves: some are skipped, for all nodes alike, never the last, and the host's disk does not fill. */
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Client } from '@temporalio/client';
import { MockActivityEnvironment } from '@temporalio/testing';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { createWatchSaves } from '../../../src/activities/control/watch-saves.js';
import { SaveShipper } from '../../../src/activities/host/save-shipper.js';
import { writeRunDocuments } from '../../../src/activities/run-documents.js';
import { backendFor } from '../../../src/backends/backend.js';
import type { CompleteSave } from '../../../src/contract/activities.js';
import { generationFolder } from '../../../src/contract/store-keys.js';
import { pause } from '../../../src/process/wait.js';
import { StoreError } from '../../../src/storage/errors.js';
import { FolderStore } from '../../../src/storage/folder-store.js';
import { demoPlan, demoSpec } from '../../support/demo-plan.js';
import { scratchFolder } from '../../support/scratch.js';
import { until } from '../../support/until.js';

const plan = demoPlan();
const backend = backendFor({ kind: 'cpu' });
const LIMIT_MS = 10_000;
/** So many saves come and go while the slow store takes one file. */
const SAVES_A_FILE = 3;

/** A folder store that can be slow, as slow as the test's own clock of saves says, or away. */
class SlowStore extends FolderStore {
  mode: 'fast' | 'slow' | 'away' = 'fast';
  /** Keys that end so are created only when the test lets them. */
  held: { readonly ending: string; readonly until: Promise<void> } | undefined;
  saves = 0;
  looks = 0;

  override async create(...args: Parameters<FolderStore['create']>): ReturnType<FolderStore['create']> {
    this.check();
    if (this.held !== undefined && args[0].endsWith(this.held.ending)) await this.held.until;
    return super.create(...args);
  }

  override async putFile(...args: Parameters<FolderStore['putFile']>): ReturnType<FolderStore['putFile']> {
    this.check();
    const begun = this.saves;
    while (this.mode === 'slow' && this.saves < begun + SAVES_A_FILE) await pause(1);
    return super.putFile(...args);
  }

  override async *list(prefix: string): ReturnType<FolderStore['list']> {
    this.looks += 1;
    this.check();
    yield* super.list(prefix);
  }

  private check(): void {
    if (this.mode === 'away') throw new StoreError('Unavailable', 'The store is away.');
  }
}

let root: string;
let store: SlowStore;
let nodes: readonly SaveShipper[];

beforeEach(async () => {
  root = await scratchFolder();
  store = new SlowStore(join(root, 'store'));
  await writeRunDocuments(store, 'run', demoSpec(), plan);
  nodes = [0, 1].map((nodeRank) => {
    const node = { runId: 'run', generation: 1, nodeRank };
    return new SaveShipper({ store, backend, gang: plan.gang, node, folder: folderOf(nodeRank) });
  });
});

const folderOf = (node: number): string => join(root, `node-${String(node)}`);

/** What the trainer does: shards on every node, then the tracker on node 0. */
async function save(iteration: number): Promise<void> {
  for (const { path, writtenBy } of plan.gang.checkpointFiles) {
    const file = join(folderOf(writtenBy), backend.iterationFolder(iteration), path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, `${path} of iteration ${String(iteration)}`);
  }
  await writeFile(join(folderOf(0), backend.trackerFile), String(iteration));
  store.saves += 1;
}

/** Every node ships beside the training until the test ends, as its activity does. */
function shipAlways(): void {
  const ending = new AbortController();
  const loops = nodes.map(async (node) => {
    while (!ending.signal.aborted) {
      await node.turn(ending.signal).catch(() => undefined);
      await pause(2);
    }
  });
  onTestFinished(async () => {
    store.mode = 'fast';
    ending.abort();
    await Promise.all(loops);
  });
}

async function savesOf(node: number): Promise<readonly number[]> {
  const names = await readdir(folderOf(node)).catch(() => []);
  return names.map((name) => backend.parseIterationFolder(name)).filter((one) => one !== undefined);
}

/** Iterations that have this name beside them in the store, in order. */
async function named(name: string): Promise<readonly number[]> {
  const prefix = generationFolder('run', 1);
  const found: number[] = [];
  for await (const { key } of store.list(prefix)) {
    const [folder = '', ...rest] = key.slice(prefix.length).split('/');
    if (rest.join('/') === name) found.push(backend.parseIterationFolder(folder) ?? 0);
  }
  return found;
}

/** All saves that are whole, in the order in which they would be committed. */
async function commits(): Promise<readonly number[]> {
  const client = undefined as unknown as Client; // it only looks at the store
  const timing = { heartbeatSeconds: 1, attachSeconds: 1 };
  const watchSaves = createWatchSaves({ store, cluster: 'c', namespace: 'default', client, timing });
  const found: number[] = [];
  for (;;) {
    const input = { runId: 'run', generation: 1, afterIteration: found.at(-1) ?? 0, once: true };
    const next: CompleteSave | null = await new MockActivityEnvironment().run(watchSaves, input);
    if (next === null) return found;
    found.push(next.iteration);
  }
}

async function committed(iteration: number): Promise<readonly number[]> {
  return until(`iteration ${String(iteration)} is committed`, LIMIT_MS, async () => {
    const found = await commits();
    return found.includes(iteration) ? found : undefined;
  });
}

test('saves that come faster than they can be shipped are skipped, the same ones on both nodes, and the last is committed', async () => {
  shipAlways();
  store.mode = 'slow';
  const kept: number[] = [];
  for (let iteration = 1; iteration <= 60; iteration += 1) {
    await save(iteration);
    await pause(8);
    kept.push((await savesOf(0)).length, (await savesOf(1)).length);
  }
  // Training is over; nothing sets the pace any more.
  store.mode = 'fast';
  const all = await committed(60);
  expect(all.length).toBeGreaterThan(3);
  expect(all.length).toBeLessThan(40);
  // A node that was late to look at a name says so; all others are shipped by both.
  const gone = [...(await named('gone-0.json')), ...(await named('gone-1.json'))];
  for (const name of ['SAVED.json', 'node-0.json', 'node-1.json'])
    expect((await named(name)).filter((iteration) => !gone.includes(iteration))).toEqual(all);
  // While one or two saves are on their way, those that come meanwhile wait on the disk; all others are gone.
  expect(Math.max(...kept)).toBeLessThanOrEqual(20);
  expect(await commits()).toEqual(all);
});

test('while the store is away saves are skipped and pruned, and the last one is named, shipped and committed when it is back', async () => {
  await save(1);
  for (const node of nodes) await node.turn(new AbortController().signal);
  store.mode = 'away';
  shipAlways();
  for (let iteration = 2; iteration <= 30; iteration += 1) await save(iteration);
  for (const node of [0, 1])
    await until(
      `node ${String(node)} has pruned`,
      LIMIT_MS,
      async () => (await savesOf(node)).length <= 3 || undefined,
    );
  // What is shipped is the commit that a next generation restores; the others are the newest two.
  for (const node of [0, 1]) expect(await savesOf(node)).toContain(1);
  expect(nodes.map(({ problem }) => problem)).toEqual([expect.any(StoreError), expect.any(StoreError)]);
  store.mode = 'fast';
  expect(await committed(30)).toEqual([1, 30]);
});

test('saves that are named when a node has pruned them already hold nothing up, however many they are', async () => {
  shipAlways();
  for (const iteration of [10, 20, 30]) {
    // Node 0 has read its tracker and is held for long before the name is in the store; the trainer goes on.
    let release: () => void = () => undefined;
    store.held = { ending: 'SAVED.json', until: new Promise<void>((resolve) => (release = resolve)) };
    for (const later of [0, 1, 2]) await save(iteration + later);
    await until(
      'node 1 has pruned',
      LIMIT_MS,
      async () => (await savesOf(1)).every((one) => one !== iteration) || undefined,
    );
    release();
    store.held = undefined;
    await until('the name is there', LIMIT_MS, async () => (await named('SAVED.json')).length > 0 || undefined);
  }
  await save(40);
  expect((await committed(40)).at(-1)).toBe(40);
});

test('between two saves no node asks the store', async () => {
  await save(1);
  for (const node of nodes) await node.turn(new AbortController().signal);
  const looks = store.looks;
  for (const node of nodes) await node.turn(new AbortController().signal);
  expect(store.looks).toBe(looks);
  await save(2);
  for (const node of nodes) await node.turn(new AbortController().signal);
  expect(await commits()).toEqual([1, 2]);
});

test('a node that writes nothing of a save says so with an empty manifest', async () => {
  const node = { runId: 'run', generation: 1, nodeRank: 2 };
  const idle = new SaveShipper({ store, backend, gang: { ...plan.gang, hosts: 3 }, node, folder: folderOf(2) });
  await save(1);
  for (const one of [...nodes, idle]) await one.turn(new AbortController().signal);
  expect(await named('node-2.json')).toEqual([1]);
  expect(await named('gone-2.json')).toEqual([]);
  expect(idle.shippedIteration).toBe(1);
});

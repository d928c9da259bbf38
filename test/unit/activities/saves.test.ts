/** Save, ship, commit over a real folder store: every node ships what node 0 has named, and only what is whole is complete. */
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import { MockActivityEnvironment } from '@temporalio/testing';
import { beforeEach, expect, test } from 'vitest';
import { createWatchSaves } from '../../../src/activities/control/watch-saves.js';
import { SaveShipper } from '../../../src/activities/host/save-shipper.js';
import { writeRunDocuments } from '../../../src/activities/run-documents.js';
import { backendFor } from '../../../src/backends/backend.js';
import type { CompleteSave } from '../../../src/contract/activities.js';
import { checkpointPrefix, savedName } from '../../../src/contract/store-keys.js';
import { FolderStore } from '../../../src/storage/folder-store.js';
import { readManifest } from '../../../src/storage/file-set.js';
import { demoPlan, demoSpec } from '../../support/demo-plan.js';
import { scratchFolder } from '../../support/scratch.js';

const plan = demoPlan();
const backend = backendFor({ kind: 'cpu' });
const signal = new AbortController().signal;
let root: string;
let store: FolderStore;
let nodes: readonly SaveShipper[];

beforeEach(async () => {
  root = await scratchFolder();
  store = new FolderStore(join(root, 'store'));
  await writeRunDocuments(store, 'run', demoSpec(), plan);
  nodes = [0, 1].map((nodeRank) => {
    const folder = join(root, `node-${String(nodeRank)}`);
    return new SaveShipper({
      store,
      backend,
      gang: plan.gang,
      node: { runId: 'run', generation: 1, nodeRank },
      folder,
    });
  });
});

/** What the trainer does on every node: its own shards, then on node 0 the tracker. */
async function save(iteration: number): Promise<void> {
  for (const { path, writtenBy } of plan.gang.checkpointFiles) await write(writtenBy, iteration, path);
  await writeFile(join(root, 'node-0', backend.trackerFile), String(iteration));
}
async function write(node: number, iteration: number, path: string): Promise<void> {
  const file = join(root, `node-${String(node)}`, backend.iterationFolder(iteration), path);
  await mkdir(join(file, '..'), { recursive: true });
  await writeFile(file, `${path} of iteration ${String(iteration)}`);
}
async function ship(...ranks: readonly number[]): Promise<void> {
  for (const rank of ranks) await nodes[rank]?.turn(signal);
}
function complete(afterIteration = 0): Promise<CompleteSave | null> {
  const watchSaves = createWatchSaves({
    store,
    cluster: 'c',
    namespace: 'default',
    client: undefined as unknown as Client, // it only looks at the store
    timing: { heartbeatSeconds: 1, attachSeconds: 1 },
  });
  const input = { runId: 'run', generation: 1, afterIteration, once: true };
  return new MockActivityEnvironment().run(watchSaves, input);
}

test('a save is complete when every node has shipped its part, and names exactly the files of the plan', async () => {
  await save(20);
  await ship(0);
  expect(await complete()).toBeNull();
  await ship(1);
  const found = await complete();
  expect(found?.iteration).toBe(20);
  const manifest = found === null ? undefined : await readManifest(store, found.checkpoint);
  expect(manifest?.files.map(({ path }) => path).sort()).toEqual(
    plan.gang.checkpointFiles.map(({ path }) => path).sort(),
  );
  expect(await complete(20)).toBeNull();
});

test('files without the tracker are nothing: a save that was cut is never named', async () => {
  for (const { path, writtenBy } of plan.gang.checkpointFiles) await write(writtenBy, 20, path);
  await ship(0, 1);
  expect(await complete()).toBeNull();
});

test('a node that never sees the tracker ships only what node 0 has named', async () => {
  await save(20);
  await ship(1);
  expect(nodes[1]?.shippedIteration).toBe(0);
  await ship(0, 1);
  expect(nodes[1]?.shippedIteration).toBe(20);
});

test('with two saves open, node 0 names no third, and names the newest when one is shipped', async () => {
  for (const iteration of [20, 40, 60]) {
    await save(iteration);
    await ship(0);
  }
  const named = async (iteration: number): Promise<boolean> =>
    (await store.head(`${checkpointPrefix('run', 1, iteration)}${savedName}`)) !== undefined;
  expect(await Promise.all([20, 40, 60].map(named))).toEqual([true, true, false]);
  await ship(1, 0);
  expect(await named(60)).toBe(true);
});

test('what is older than the newest shipped save is removed from the host', async () => {
  await save(20);
  await ship(0, 1);
  await save(40);
  await ship(0, 1);
  const left = (await readdir(join(root, 'node-1'))).filter((name) => name.startsWith('iter_'));
  expect(left).toEqual([backend.iterationFolder(40)]);
});

test('the newest save that all nodes have shipped stays on the host while others are on their way, and no older one', async () => {
  const left = async (node: number): Promise<readonly string[]> =>
    (await readdir(join(root, `node-${String(node)}`))).filter((name) => name.startsWith('iter_')).sort();
  for (const iteration of [20, 40]) {
    await save(iteration);
    await ship(0, 1);
  }
  for (const iteration of [60, 80]) {
    await save(iteration);
    await ship(0);
  }
  expect(await left(0)).toEqual([40, 60, 80].map(backend.iterationFolder));
  await ship(1);
  await save(100);
  await ship(0, 1);
  // Node 0 had its last look before node 1 had shipped.
  expect(await left(0)).toEqual([80, 100].map(backend.iterationFolder));
  expect(await left(1)).toEqual([backend.iterationFolder(100)]);
});

test('a save that a node has lost is kept by nobody', async () => {
  await save(20);
  await ship(0);
  await rm(join(root, 'node-1', backend.iterationFolder(20)), { recursive: true });
  for (const iteration of [40, 60]) {
    await save(iteration);
    await ship(1, 0, 1);
  }
  const left = (await readdir(join(root, 'node-0'))).filter((name) => name.startsWith('iter_')).sort();
  expect(left).not.toContain(backend.iterationFolder(20));
});

test('a shipper that starts again after a kill ships nothing twice and goes on', async () => {
  await save(20);
  await ship(0);
  const again = new SaveShipper({
    store,
    backend,
    gang: plan.gang,
    node: { runId: 'run', generation: 1, nodeRank: 0 },
    folder: join(root, 'node-0'),
  });
  await again.turn(signal);
  expect(again.shippedIteration).toBe(20);
});

test('a save is complete only when what was measured up to it is in the store', async () => {
  const order: string[] = [];
  let isAway = true;
  const reporting = new SaveShipper({
    ...{ store, backend, gang: plan.gang, node: { runId: 'run', generation: 1, nodeRank: 1 } },
    folder: join(root, 'node-1'),
    metrics: {
      flush: () => {
        order.push(isAway ? 'away' : 'sent');
        return isAway ? Promise.reject(new Error('the store is away')) : Promise.resolve();
      },
    },
  });
  await save(20);
  await ship(0);
  await expect(reporting.turn(signal)).rejects.toThrow('the store is away');
  expect([await complete(), reporting.shippedIteration]).toEqual([null, 0]);
  isAway = false;
  await reporting.turn(signal);
  expect((await complete())?.iteration).toBe(20);
  expect(order).toEqual(['away', 'sent']);
});

test('a shard that is not in the store as its manifest says makes the save partial, not complete', async () => {
  await save(20);
  await ship(0, 1);
  const [shard] = plan.gang.checkpointFiles;
  const key = `${checkpointPrefix('run', 1, 20)}${shard?.path ?? ''}`;
  await rm(join(root, 'store', key));
  await writeFile(join(root, 'store', key), 'cut');
  await expect(complete()).rejects.toMatchObject({ type: 'CheckpointPartial' });
});

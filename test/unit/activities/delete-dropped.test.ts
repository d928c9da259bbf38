/** Files of old commits over a real folder store: they go after their drop, names first, and nothing else ever goes. */
import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import { CancelledFailure } from '@temporalio/activity';
import { MockActivityEnvironment } from '@temporalio/testing';
import { beforeEach, expect, test } from 'vitest';
import { createDeleteDropped } from '../../../src/activities/control/delete-dropped.js';
import {
  checkpointPrefix,
  checkpointsFolder,
  incidentNodeFolder,
  incidentsPrefix,
  runLogPrefix,
} from '../../../src/contract/store-keys.js';
import type { RunFact } from '../../../src/plan/run-log.js';
import { StoreError } from '../../../src/storage/errors.js';
import { appendFact } from '../../../src/storage/facts.js';
import { FolderStore } from '../../../src/storage/folder-store.js';
import { scratchFolder } from '../../support/scratch.js';
import { until } from '../../support/until.js';

const NAMES = ['SAVED.json', 'manifest.json', 'node-0.json', 'node-1.json'];
const FILES = ['mp_gpt_rank_00/model_optim_rng.pt', 'mp_vit_rank_00/model_optim_rng.pt'];

/** A folder store that keeps what was deleted, in order, and can be away. */
class Recorder extends FolderStore {
  readonly deleted: string[] = [];
  isAway = false;

  override async delete(key: string): Promise<void> {
    if (this.isAway) throw new StoreError('Unavailable', 'The store is away.');
    await super.delete(key);
    this.deleted.push(key);
  }
}

let store: Recorder;
let facts: number;

beforeEach(async () => {
  store = new Recorder(join(await scratchFolder(), 'store'));
  facts = 0;
});

async function append(...added: readonly RunFact[]): Promise<void> {
  for (const fact of added) await appendFact(store, runLogPrefix('run'), (facts += 1), fact);
}
const drop = (generation: number, iteration: number, reason: 'too old' | 'damaged'): RunFact => ({
  ...{ fact: 'drop', generation, iteration, reason, why: 'a test' },
});

async function commit(generation: number, iteration: number): Promise<void> {
  const prefix = checkpointPrefix('run', generation, iteration);
  for (const name of [...NAMES, ...FILES]) await store.create(`${prefix}${name}`, `${name} of ${prefix}`);
  const checkpoint = { prefix, manifestKey: `${prefix}manifest.json`, digest: 'd' };
  await append({ fact: 'commit', generation, iteration, checkpoint });
}

function deleter(environment: MockActivityEnvironment, once: boolean): Promise<void> {
  const client = undefined as unknown as Client; // it only looks at the store
  const timing = { heartbeatSeconds: 1, attachSeconds: 1 };
  const activity = createDeleteDropped({ store, cluster: 'c', namespace: 'default', client, timing });
  return environment.run(activity, { runId: 'run', once });
}
const deleteOnce = (): Promise<void> => deleter(new MockActivityEnvironment(), true);

/** The folders of checkpoints that have anything in them. */
async function left(): Promise<readonly string[]> {
  const folders = new Set<string>();
  for await (const { key } of store.list(checkpointsFolder('run')))
    folders.add(key.slice(checkpointsFolder('run').length).split('/').slice(0, 2).join('/'));
  return [...folders];
}

test('a commit that is dropped for its age goes, and no other: not one that stands, nor a damaged one, nor a twin', async () => {
  await commit(1, 10);
  await commit(1, 20);
  await commit(1, 30);
  await append({ fact: 'open', generation: 2, fromIteration: 10, hosts: [] });
  await commit(2, 20);
  await deleteOnce();
  expect(store.deleted).toEqual([]);
  await append(drop(1, 20, 'too old'), drop(1, 30, 'damaged'));
  await deleteOnce();
  expect(await left()).toEqual(['g1/iter_0000010', 'g1/iter_0000030', 'g2/iter_0000020']);
});

test('names go before files, the first of them the one by which nodes ship', async () => {
  await commit(1, 10);
  await append(drop(1, 10, 'too old'));
  await deleteOnce();
  const prefix = checkpointPrefix('run', 1, 10);
  expect(store.deleted.slice(0, NAMES.length)).toEqual(NAMES.map((name) => `${prefix}${name}`));
  expect(store.deleted.slice(NAMES.length).sort()).toEqual(FILES.map((name) => `${prefix}${name}`));
});

test('what a store that was away has kept goes later, and so does what comes back from a writer that was frozen', async () => {
  await commit(1, 10);
  await append(drop(1, 10, 'too old'));
  store.isAway = true;
  await expect(deleteOnce()).rejects.toMatchObject({ type: 'StoreUnavailable', nonRetryable: false });
  store.isAway = false;
  await deleteOnce();
  expect(await left()).toEqual([]);
  await store.create(`${checkpointPrefix('run', 1, 10)}manifest.json`, 'thawed');
  await deleteOnce();
  expect(await left()).toEqual([]);
});

test('a commit that stands stays, even if the log has dropped its name before', async () => {
  await append(drop(1, 10, 'too old'));
  await commit(1, 10);
  await deleteOnce();
  expect(await left()).toEqual(['g1/iter_0000010']);
});

test('a deleter that follows the log sees each drop as it comes, and ends when it is cancelled', async () => {
  const environment = new MockActivityEnvironment();
  const following = deleter(environment, false);
  const ended = expect(following).rejects.toBeInstanceOf(CancelledFailure);
  for (const iteration of [10, 20]) {
    await commit(1, iteration);
    expect(await left()).toEqual([`g1/iter_${String(iteration).padStart(7, '0')}`]);
    await append(drop(1, iteration, 'too old'));
    await until(`iteration ${String(iteration)} is gone`, 10_000, async () => (await left()).length === 0 || undefined);
  }
  environment.cancel('CANCELLED');
  await ended;
});

test('the evidence of the last twenty generations stays, and every incident', async () => {
  const open = (generation: number): RunFact => ({ fact: 'open', generation, fromIteration: 0, hosts: [] });
  const evidence = [1, 2, 3, 22].map((generation) => `${incidentNodeFolder('run', generation, 0)}index.json`);
  const incidents = ['000001-1700000000000.json', '000022-1700000000001.json'].map(
    (name) => incidentsPrefix('run') + name,
  );
  for (const key of [...evidence, ...incidents]) await store.create(key, '{}');
  await append(...Array.from({ length: 20 }, (_, index) => open(index + 1)));
  await deleteOnce();
  expect(store.deleted).toEqual([]);
  await append(open(21), open(22));
  await deleteOnce();
  expect(store.deleted.toSorted()).toEqual(evidence.slice(0, 2));
});

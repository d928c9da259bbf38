/** A source is fetched as it was pinned, or not at all. */
import { appendFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { MockActivityEnvironment } from '@temporalio/testing';
import { beforeEach, expect, test } from 'vitest';
import type { HostDeps } from '../../../src/activities/host/deps.js';
import { createSources } from '../../../src/activities/host/sources.js';
import { specKey } from '../../../src/contract/store-keys.js';
import type { ObjectStore } from '../../../src/storage/object-store.js';
import { FolderStore } from '../../../src/storage/folder-store.js';
import { composable } from '../../support/composable.js';
import { quietRuntime } from '../../support/quiet-runtime.js';
import { scratchFolder } from '../../support/scratch.js';

quietRuntime();

let data: string;
let store: ObjectStore;
let sources: ReturnType<typeof createSources>;
/** Called when the first file of the source is stored. */
let whileStoring: () => Promise<void>;

beforeEach(async () => {
  const root = await scratchFolder();
  data = join(root, '..', 'data');
  await mkdir(data);
  await writeFile(join(data, 'rows.jsonl'), 'one\n');
  whileStoring = () => Promise.resolve();
  const folder = new FolderStore(join(root, 'store'));
  const putFile = folder.putFile.bind(folder);
  store = Object.assign(folder, {
    putFile: async (...args: Parameters<ObjectStore['putFile']>) => {
      const done = await putFile(...args);
      await whileStoring();
      return done;
    },
  });
  await store.create(specKey('run'), JSON.stringify(composable('digits', pathToFileURL(data).href)));
  sources = createSources({ store, workRoot: join(root, 'work'), facts: { name: 'host-a' } } as unknown as HostDeps);
});

const run = <Output>(activity: () => Promise<Output>): Promise<Output> =>
  new MockActivityEnvironment().run<[], Output, () => Promise<Output>>(activity);
const pinned = async (): Promise<string> =>
  (await run(() => sources.fingerprintSource({ specKey: specKey('run'), item: 'fetch-data' }))).fingerprint;
const fetch = (fingerprint: string) =>
  run(() => sources.fetchSource({ runId: 'run', item: 'fetch-data', fingerprint }));

test('an unchanged source is fetched', async () => {
  expect((await fetch(await pinned())).artifacts.data?.digest).toMatch(/^[0-9a-f]{64}$/);
});

test('a source that changed before it is fetched is refused, and nothing is stored', async () => {
  const fingerprint = await pinned();
  await appendFile(join(data, 'rows.jsonl'), 'two\n');
  whileStoring = () => Promise.reject(new Error('It stored a file.'));
  await expect(fetch(fingerprint)).rejects.toMatchObject({ type: 'SourceChanged', nonRetryable: true });
});

test('a source that changes while it is fetched is refused', async () => {
  const fingerprint = await pinned();
  whileStoring = () => writeFile(join(data, 'more.jsonl'), 'three\n');
  await expect(fetch(fingerprint)).rejects.toMatchObject({ type: 'SourceChanged' });
});

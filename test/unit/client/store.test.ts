/** The store that a client reads: what its place names, or a sentence about how to name one. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { StoreUnknownError } from '../../../src/client/index.js';
import { openStore } from '../../../src/client/store.js';
import { FolderStore } from '../../../src/storage/folder-store.js';
import { scratchFolder } from '../../support/scratch.js';

test('a client that was told of no store says how to tell it', async () => {
  const opening = openStore({});
  await expect(opening).rejects.toThrow(StoreUnknownError);
  await expect(opening).rejects.toThrow(/Connect with \{ store: /);
});

test('a folder is read as the store that it is', async () => {
  const folder = join(await scratchFolder(), 'store');
  await new FolderStore(folder).create('runs/a/plan.json', '{}');
  expect(String(await (await openStore({ store: folder })).read('runs/a/plan.json'))).toBe('{}');
});

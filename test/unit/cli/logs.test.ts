/** Which logs of a run are chosen, and in which order their chunks stand. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { isChosen, listLogs } from '../../../src/cli/commands/logs.js';
import { logChunkKey } from '../../../src/contract/store-keys.js';
import { FolderStore } from '../../../src/storage/folder-store.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'anneal-logs-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

test('chunks of each log are in order of their bytes, and other files are passed over', async () => {
  const store = new FolderStore(folder);
  await store.create(logChunkKey('r', 'train-g1-node0', 1_000), 'world');
  await store.create(logChunkKey('r', 'train-g1-node0', 0), 'hello');
  await store.create(logChunkKey('r', 'convert', 0), 'x');
  await store.create('runs/r/logs/stray.txt', 'x');
  await store.create(logChunkKey('other', 'convert', 0), 'x');
  const logs = await listLogs(store, 'r');
  expect(logs.map(({ name }) => name)).toEqual(['convert', 'train-g1-node0']);
  expect(logs[1]?.chunks.map(({ offset, sizeBytes }) => [offset, sizeBytes])).toEqual([
    [0, 5],
    [1_000, 5],
  ]);
});

describe('isChosen', () => {
  test.each([
    ['train-g1-node0', {}, true],
    ['train-g1-node0', { stage: 'train' }, true],
    ['train-g1-node0', { stage: 'convert' }, false],
    ['train-g1-node1', { stage: 'train', node: '1' }, true],
    ['train-g1-node11', { node: '1' }, false],
    ['convert', { stage: 'convert' }, true],
    ['convert', { node: '0' }, false],
  ])('%s with %o: %s', (name, flags, expected) => {
    expect(isChosen(name, flags)).toBe(expected);
  });
});

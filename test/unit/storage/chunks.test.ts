/** Chunks of a growing file, put together: whole where they meet, divided where one is missing, each byte once where they overlap. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { listChunks, readChunks } from '../../../src/storage/chunks.js';
import { FolderStore } from '../../../src/storage/folder-store.js';
import { scratchFolder } from '../../support/scratch.js';

const name = (offset: number): string => `log/${String(offset).padStart(12, '0')}.log`;

test.each<[string, [number, string][], string[]]>([
  ['none', [], []],
  ['one', [[0, 'abc']], ['abc']],
  [
    'chunks that meet',
    [
      [0, 'abc'],
      [3, 'de'],
      [5, 'f'],
    ],
    ['abcdef'],
  ],
  [
    'a missing chunk',
    [
      [0, 'abc'],
      [5, 'f'],
    ],
    ['abc', 'f'],
  ],
  ['a missing first chunk', [[3, 'de']], ['de']],
  [
    'overlapping chunks',
    [
      [0, 'abcd'],
      [2, 'cdef'],
      [3, 'de'],
      [6, 'g'],
    ],
    ['abcdefg'],
  ],
])('%s', async (_, chunks, expected) => {
  const store = new FolderStore(join(await scratchFolder(), 'store'));
  for (const [offset, text] of chunks) await store.create(name(offset), text);
  await store.create('log/stray.txt', 'x');
  await store.create('logs-of-another/000000000000.log', 'x');
  expect((await listChunks(store, 'log/')).map(({ offset }) => offset)).toEqual(chunks.map(([offset]) => offset));
  expect((await readChunks(store, 'log/')).map(String)).toEqual(expected);
});

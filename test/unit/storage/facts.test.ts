import { expect, test } from 'vitest';
import { appendFact, factKey, highest, readFacts } from '../../../src/storage/facts.js';
import { FolderStore } from '../../../src/storage/folder-store.js';
import { sha256Hex } from '../../../src/storage/hashing.js';
import { scratchFolder } from '../../support/scratch.js';

const log = 'runs/a/log';
const storeHere = async (): Promise<FolderStore> => new FolderStore(await scratchFolder());

test('facts come back in the order of their numbers', async () => {
  const store = await storeHere();
  expect(await readFacts(store, log)).toEqual([]);
  expect(await highest(store, log)).toBeUndefined();
  for (let number = 1; number <= 12; number++) await appendFact(store, log, number, { open: `g${number}` });
  const facts = await readFacts(store, `${log}/`);
  expect(facts.map((fact) => fact.number)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  expect(facts.at(-1)).toEqual({ number: 12, body: { open: 'g12' } });
  expect(await highest(store, log)).toEqual({ number: 12, body: { open: 'g12' } });
});

test('a retried writer finds its own body, whatever the order of its fields; another body stops the writer and names both', async () => {
  const store = await storeHere();
  expect(await appendFact(store, log, 1, { type: 'open', generation: 4 })).toBe('created');
  expect(await appendFact(store, log, 1, { generation: 4, type: 'open' })).toBe('same');
  const attempt = appendFact(store, log, 1, { type: 'open', generation: 5 });
  await expect(attempt).rejects.toMatchObject({ code: 'Conflict' });
  await expect(attempt).rejects.toThrow(sha256Hex('{"generation":4,"type":"open"}'));
  await expect(attempt).rejects.toThrow(sha256Hex('{"generation":5,"type":"open"}'));
  expect(await readFacts(store, log)).toEqual([{ number: 1, body: { type: 'open', generation: 4 } }]);
});

test('a gap is an error that names what is missing; the highest number needs no others', async () => {
  const store = await storeHere();
  for (const number of [1, 2, 5]) await appendFact(store, log, number, number);
  await expect(readFacts(store, log)).rejects.toThrow(
    /Fact runs\/a\/log\/000003\.json is missing .* though runs\/a\/log\/000005\.json/,
  );
  expect(await highest(store, log)).toEqual({ number: 5, body: 5 });
});

test('what no writer of facts makes is not read: other names, logs of other runs, folders', async () => {
  const store = await storeHere();
  await appendFact(store, log, 1, 'mine');
  for (const key of ['note.txt', '000000.json', '0000002.json', '2.json', '000003.json.bak', 'sub/000002.json']) {
    await store.create(`${log}/${key}`, '"stray"');
  }
  await store.create('runs/a/log2/000002.json', '"other"');
  expect(await readFacts(store, log)).toEqual([{ number: 1, body: 'mine' }]);
});

test('a fact that is no JSON is called damaged', async () => {
  const store = await storeHere();
  await store.create(`${log}/000001.json`, '{"open"');
  await expect(readFacts(store, log)).rejects.toMatchObject({ code: 'DigestMismatch' });
});

test.each([0, -1, 1.5, NaN, 1_000_000])('%d is no number of a fact', (number) => {
  expect(() => factKey(log, number)).toThrow(RangeError);
});

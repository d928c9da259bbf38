/** The loss record in a real folder store: the same while a run trains and when it is finished, and never overwritten. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { logChunkKey, metricsLogName, runLogPrefix } from '../../../src/contract/store-keys.js';
import type { RunFact } from '../../../src/plan/run-log.js';
import { readMetrics, writeMetrics } from '../../../src/records/metrics.js';
import { appendFact } from '../../../src/storage/facts.js';
import { FolderStore } from '../../../src/storage/folder-store.js';
import { scratchFolder } from '../../support/scratch.js';

const RECORD = 'runs/run/metrics.jsonl';
let root: string;
let store: FolderStore;
let facts: number;
beforeEach(async () => {
  root = join(await scratchFolder(), 'store');
  store = new FolderStore(root);
  facts = 0;
});

async function append(fact: RunFact): Promise<void> {
  facts += 1;
  await appendFact(store, runLogPrefix('run'), facts, fact);
}
const open = (generation: number, fromIteration: number): Promise<void> =>
  append({ fact: 'open', generation, fromIteration, hosts: [] });

const line = (iteration: number): string =>
  `${JSON.stringify({
    ...{ iteration, loss: '0x1.0000000000000p+1', grad_norm: '0x0.0p+0', lr: '0x0.0p+0' },
    ...{ consumed_samples: iteration, seconds: 0.1, time: 1 },
  })}\n`;
const lines = (first: number, last: number): string =>
  Array.from({ length: last - first + 1 }, (_, index) => line(first + index)).join('');

const ship = (generation: number, offset: number, text: string): Promise<unknown> =>
  store.create(logChunkKey('run', metricsLogName(generation), offset), text);

async function told(): Promise<string[]> {
  return (await readMetrics(store, 'run')).rows.map(
    ({ generation, iteration, rolledBackBy }) =>
      `g${generation} ${iteration}${rolledBackBy ? ` by ${rolledBackBy}` : ''}`,
  );
}

test('nothing measured is no record', async () => {
  expect(await told()).toEqual([]);
  await open(1, 0);
  expect(await writeMetrics(store, 'run')).toBeUndefined();
  expect(await store.head(RECORD)).toBeUndefined();
});

test('while it trains, chunks of any cut are read as far as they are whole', async () => {
  await open(1, 0);
  const text = lines(1, 3);
  await ship(1, 0, text.slice(0, 150));
  expect(await told()).toEqual(['g1 1']);
  await ship(1, 150, text.slice(150));
  expect(await told()).toEqual(['g1 1', 'g1 2', 'g1 3']);
});

test('a chunk that is missing costs the lines that it held, and no other', async () => {
  await open(1, 0);
  const text = lines(1, 5);
  const [from, to] = [lines(1, 1).length + 20, lines(1, 3).length + 20];
  await ship(1, 0, text.slice(0, from));
  await ship(1, to, text.slice(to));
  expect(await told()).toEqual(['g1 1', 'g1 5']);
});

test('chunks of two attempts that overlap give each iteration once', async () => {
  await open(1, 0);
  const text = lines(1, 6);
  await ship(1, 0, text.slice(0, 400));
  await ship(1, 200, text.slice(200, 500));
  await ship(1, 500, text.slice(500));
  expect(await told()).toEqual([1, 2, 3, 4, 5, 6].map((iteration) => `g1 ${iteration}`));
});

describe('when the training has ended', () => {
  beforeEach(async () => {
    await open(1, 0);
    await ship(1, 0, lines(1, 4));
    await open(2, 2);
    await ship(2, 0, lines(3, 5));
  });
  const whole = ['g1 1', 'g1 2', 'g1 3 by 2', 'g1 4 by 2', 'g2 3', 'g2 4', 'g2 5'];

  test('the record is one object that says the same, and needs no chunk any more', async () => {
    expect(await told()).toEqual(whole);
    expect(await writeMetrics(store, 'run')).toBe(RECORD);
    for (const generation of [1, 2]) await store.delete(logChunkKey('run', metricsLogName(generation), 0));
    expect(await told()).toEqual(whole);
    expect((await readFile(join(root, RECORD), 'utf8')).split('\n')[2]).toBe(
      '{"generation":1,"iteration":3,"loss":2,"gradNorm":0,"learningRate":0,"consumedSamples":3,"seconds":0.1,"at":1000,"rolledBackBy":2}',
    );
  });

  test('it is written once: a second attempt, also after more of a lost generation came in, changes nothing', async () => {
    await writeMetrics(store, 'run');
    const before = await readFile(join(root, RECORD));
    expect(await writeMetrics(store, 'run')).toBe(RECORD);
    await ship(2, lines(3, 5).length, lines(6, 6));
    expect(await writeMetrics(store, 'run')).toBe(RECORD);
    expect(await readFile(join(root, RECORD))).toEqual(before);
    expect(await told()).toEqual(whole);
  });

  test('attempts at the same time write one record', async () => {
    const keys = await Promise.all(Array.from({ length: 4 }, () => writeMetrics(store, 'run')));
    expect(keys).toEqual([RECORD, RECORD, RECORD, RECORD]);
  });

  test('a run that trains again after its end has a longer record beside the first, and that one is read', async () => {
    await writeMetrics(store, 'run');
    await open(3, 4);
    await append({ fact: 'drop', generation: 1, iteration: 2, reason: 'too old', why: 'two newer ones' });
    const again = [...whole.slice(0, -1), 'g2 5 by 3'];
    expect(await told()).toEqual(again);
    await ship(3, 0, lines(5, 6));
    expect(await told()).toEqual([...again, 'g3 5', 'g3 6']);
    expect(await writeMetrics(store, 'run')).toBe('runs/run/metrics-g3.jsonl');
    expect(await writeMetrics(store, 'run')).toBe('runs/run/metrics-g3.jsonl');
    await store.delete(logChunkKey('run', metricsLogName(3), 0));
    expect(await told()).toEqual([...again, 'g3 5', 'g3 6']);
    expect((await readFile(join(root, RECORD), 'utf8')).split('\n')).toHaveLength(whole.length + 1);
  });

  test('a record that is damaged is named, never read as less', async () => {
    await writeMetrics(store, 'run');
    await store.delete(RECORD);
    await writeFile(join(root, RECORD), 'cut');
    await expect(readMetrics(store, 'run')).rejects.toMatchObject({ code: 'DigestMismatch' });
  });
});

/** Incidents in a real folder store: each once, with its cost in time when that is known, and as one file in the end. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import type { Incident } from '../../../src/contract/gang.js';
import { readIncidents, recordIncidents, writeIncidents } from '../../../src/records/incidents.js';
import { FolderStore } from '../../../src/storage/folder-store.js';
import { scratchFolder } from '../../support/scratch.js';

let root: string;
let store: FolderStore;
beforeEach(async () => {
  root = join(await scratchFolder(), 'store');
  store = new FolderStore(root);
});

const incident = (generation: number, rest: Partial<Incident> = {}): Incident => ({
  ...{ at: 1_000 * generation, generation, host: 'host-b', failure: 'HostLost', message: 'm', decision: 'd' },
  ...{ iterationsLost: 7, secondsToDetect: 1.5, secondsToDecide: 0.5, ...rest },
});
const text = (name: string): Promise<string> => readFile(join(root, 'runs/run', name), 'utf8');

test('nothing happened is no record', async () => {
  expect(await readIncidents(store, 'run')).toEqual([]);
  expect(await writeIncidents(store, 'run')).toBeUndefined();
});

test('told again they are the same; the cost in time is added, and what a late teller says does not take it back', async () => {
  await recordIncidents(store, 'run', [incident(1)]);
  await recordIncidents(store, 'run', [incident(1, { secondsToNewIteration: 9 }), incident(2)]);
  await recordIncidents(store, 'run', [incident(1), incident(2)]);
  expect(await readIncidents(store, 'run')).toEqual([incident(1, { secondsToNewIteration: 9 }), incident(2)]);
});

test('more than a page shows are kept, in the order in which they came', async () => {
  for (let last = 1; last <= 30; last += 1)
    await recordIncidents(
      store,
      'run',
      Array.from({ length: Math.min(last, 20) }, (_, i) => incident(last - i)),
    );
  expect((await readIncidents(store, 'run')).map(({ generation }) => generation)).toEqual(
    Array.from({ length: 30 }, (_, i) => i + 1),
  );
});

test('the finished list is written once; a run that trains again has its longer list beside it', async () => {
  await recordIncidents(store, 'run', [incident(1)]);
  expect(await writeIncidents(store, 'run')).toBe('runs/run/incidents.jsonl');
  expect(await writeIncidents(store, 'run')).toBe('runs/run/incidents.jsonl');
  expect(JSON.parse(await text('incidents.jsonl'))).toEqual(incident(1));
  await recordIncidents(store, 'run', [incident(3)]);
  expect(await writeIncidents(store, 'run')).toBe('runs/run/incidents-g3.jsonl');
  expect((await text('incidents-g3.jsonl')).trim().split('\n')).toHaveLength(2);
  expect((await text('incidents.jsonl')).trim().split('\n')).toHaveLength(1);
});

/** Promotions: one more number for each new model, none for the one that is current already. */
import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import { expect, test } from 'vitest';
import { createPromote } from '../../../src/activities/control/promote.js';
import type { PromoteInput, PromoteOutcome } from '../../../src/contract/activities.js';
import { FolderStore } from '../../../src/storage/folder-store.js';
import { scratchFolder } from '../../support/scratch.js';

const input = (runId: string, digest: string): PromoteInput => ({
  model: 'digits',
  promotion: {
    ...{ runId, accuracy: 0.9, weightsDigest: digest, data: { fingerprint: 'f', at: 1 } },
    published: { prefix: `artifacts/${digest}/`, manifestKey: `artifacts/${digest}.json`, digest },
  },
});

const numberOf = (outcome: PromoteOutcome): number => {
  if (!('number' in outcome)) throw new Error(JSON.stringify(outcome));
  return outcome.number;
};

async function promotions(): Promise<ReturnType<typeof createPromote>> {
  const store = new FolderStore(join(await scratchFolder(), 'store'));
  const timing = { heartbeatSeconds: 1, attachSeconds: 1 };
  return createPromote({
    store,
    timing,
    cluster: 'c',
    namespace: 'default',
    client: undefined as unknown as Client,
  });
}

test('each new result is one number more; the same run or the same result again is none', async () => {
  const promote = await promotions();
  const numbers: number[] = [];
  for (const [runId, digest] of [
    ['a', 'x'],
    ['a', 'x'],
    ['b', 'x'],
    ['c', 'y'],
    ['d', 'x'],
    ['a', 'x'],
  ] as const)
    numbers.push(numberOf(await promote(input(runId, digest))));
  expect(numbers).toEqual([1, 1, 1, 2, 3, 1]);
});

test('runs that promote at the same moment get numbers of their own', async () => {
  const promote = await promotions();
  const promoted = await Promise.all(['a', 'b', 'c', 'd'].map((name) => promote(input(name, `digest-${name}`))));
  expect(promoted.map(numberOf).sort()).toEqual([1, 2, 3, 4]);
});

/** Promotions by hand: what of, under which number, and what is refused. */
import { join } from 'node:path';
import { WorkflowNotFoundError, type Client } from '@temporalio/client';
import { beforeEach, expect, test } from 'vitest';
import { createChoosePromotion } from '../../../src/activities/control/choose-promotion.js';
import { promotionPrefix, specKey } from '../../../src/contract/store-keys.js';
import type { PromotionFact } from '../../../src/plan/promotions.js';
import { appendFact, readFacts } from '../../../src/storage/facts.js';
import { FolderStore } from '../../../src/storage/folder-store.js';
import { composable } from '../../support/composable.js';
import { scratchFolder } from '../../support/scratch.js';

/** What Temporal knows of runs. */
const RUNS: Readonly<Record<string, { status: string; result?: PromotionFact }>> = {
  'run/rejected': { status: 'COMPLETED', result: model('rejected') },
  'run/running': { status: 'RUNNING' },
};
const client = {
  workflow: {
    getHandle: (workflowId: string) => ({
      describe: () => {
        const run = RUNS[workflowId];
        if (run === undefined) throw new WorkflowNotFoundError('not found', workflowId, undefined);
        return Promise.resolve({ status: { name: run.status } });
      },
      result: () => Promise.resolve(RUNS[workflowId]?.result),
    }),
  },
} as unknown as Client;

function model(runId: string): PromotionFact {
  const published = { prefix: `artifacts/${runId}/`, manifestKey: `artifacts/${runId}.json`, digest: runId };
  return { runId, published, weightsDigest: runId, accuracy: 0.9, data: { fingerprint: 'f', at: 1 } };
}

let store: FolderStore;
let choose: ReturnType<typeof createChoosePromotion>;
beforeEach(async () => {
  store = new FolderStore(join(await scratchFolder(), 'store'));
  choose = createChoosePromotion({
    ...{ store, client, cluster: 'c', namespace: 'default' },
    timing: { heartbeatSeconds: 1, attachSeconds: 1 },
  });
  for (const [index, runId] of ['a', 'b'].entries())
    await appendFact(store, promotionPrefix('digits'), index + 1, model(runId));
  for (const runId of ['a', 'b', 'rejected', 'running', 'forgotten'])
    await store.create(specKey(runId), JSON.stringify(composable('digits')));
});

const facts = async (): Promise<string[]> =>
  (await readFacts(store, promotionPrefix('digits'))).map(({ number, body }) => {
    const { runId, chosen } = body as PromotionFact;
    return `${String(number)} ${runId}${chosen?.bringsBack === undefined ? '' : ` back to ${String(chosen.bringsBack)}`}`;
  });

test('a rollback is one number more, also when its first attempt was lost after its write', async () => {
  const input = { request: 'r1', choice: { model: 'digits', rollBackTo: null }, why: 'worse at sevens' };
  const first = await choose(input);
  expect(first).toMatchObject({
    model: 'digits',
    promotion: { number: 3, runId: 'a', chosen: { why: 'worse at sevens', bringsBack: 1 } },
  });
  expect(await choose(input)).toEqual(first);
  expect(await facts()).toEqual(['1 a', '2 b', '3 a back to 1']);
});

test('a rejected run is promoted from what Temporal knows of it, an older promotion from the store', async () => {
  await choose({ request: 'r1', choice: { runId: 'rejected' }, why: 'w' });
  await choose({ request: 'r2', choice: { runId: 'a' }, why: 'w' });
  expect(await facts()).toEqual(['1 a', '2 b', '3 rejected', '4 a']);
});

test('what is current already is not promoted again', async () => {
  expect(await choose({ request: 'r1', choice: { runId: 'b' }, why: 'w' })).toMatchObject({ promotion: { number: 2 } });
  expect(await facts()).toHaveLength(2);
});

test('choices at the same moment get numbers of their own', async () => {
  await Promise.all(
    ['rejected', 'a'].map((runId, index) => choose({ request: `r${String(index)}`, choice: { runId }, why: 'w' })),
  );
  expect((await facts()).map((fact) => fact.split(' ')[0])).toEqual(['1', '2', '3', '4']);
});

test.each([
  [{ runId: 'nobody' }, /There is no run nobody/],
  [{ runId: 'running' }, /has not ended yet/],
  [{ runId: 'forgotten' }, /does not know run forgotten any more/],
  [{ model: 'digits', rollBackTo: 9 }, /Model digits has no promotion 9: see anneal models show digits/],
  [{ model: 'letters', rollBackTo: null }, /Model letters has no promotion yet/],
])('%j is refused and writes nothing', async (choice, expected) => {
  const choosing = choose({ request: 'r', choice, why: 'w' });
  await expect(choosing).rejects.toMatchObject({ type: 'ChoiceRefused', nonRetryable: true });
  await expect(choosing).rejects.toThrow(expected);
  expect(await facts()).toHaveLength(2);
});

/** Where a retry begins: at the last commit of the run that it retries when the training means the same, else it says what differs. */
import { expect, test } from 'vitest';
import { writeRunDocuments } from '../../../src/activities/run-documents.js';
import { runLogPrefix } from '../../../src/contract/store-keys.js';
import type { Plan } from '../../../src/plan/plan.js';
import type { RunFact } from '../../../src/plan/run-log.js';
import { findEarlierCommit } from '../../../src/records/earlier-commit.js';
import type { RunSpec } from '../../../src/spec/run.js';
import { appendFact } from '../../../src/storage/facts.js';
import { FolderStore } from '../../../src/storage/folder-store.js';
import { demoPlan, demoSpec } from '../../support/demo-plan.js';
import { scratchFolder } from '../../support/scratch.js';

const KEY = 'key-of-the-training';
const checkpoint = { prefix: 'p/', manifestKey: 'm', digest: 'd' };

/** A store with a run that has left these facts. */
async function log(...facts: readonly RunFact[]): Promise<FolderStore> {
  const store = new FolderStore(await scratchFolder());
  await writeRunDocuments(store, 'before', demoSpec(), demoPlan(demoSpec()));
  for (const [index, fact] of facts.entries()) await appendFact(store, runLogPrefix('before'), index + 1, fact);
  return store;
}
const open: RunFact = { fact: 'open', generation: 1, fromIteration: 0, hosts: ['a'], stageKey: KEY };
const commit: RunFact = { fact: 'commit', generation: 1, iteration: 40, checkpoint };

const look = (store: FolderStore, change: (spec: RunSpec) => RunSpec = (spec) => spec, stageKey = KEY) => {
  const plan: Plan = demoPlan(change(demoSpec()));
  return findEarlierCommit(store, 'before', { stageKey, plan });
};

test('the last commit that stands, when the training has the same key', async () => {
  const dropped: RunFact = { fact: 'drop', generation: 1, iteration: 60, reason: 'damaged', why: 'cut' };
  const store = await log(open, commit, { ...commit, iteration: 60 }, dropped);
  expect(await look(store)).toEqual({
    commit: { generation: 1, iteration: 40, checkpoint },
    note: 'goes on from iteration 40, which run before has committed',
  });
});

test('none when nothing was committed', async () => {
  const store = await log(open);
  expect(await look(store)).toEqual({ note: 'trains from iteration 0: run before has committed nothing' });
});

test('none of a log that does not say which training it is of', async () => {
  const { stageKey: _, ...old } = open;
  const store = await log(old, commit);
  expect(await look(store)).toEqual({
    note: 'trains from iteration 0: run before does not say which training its iteration 40 belongs to',
  });
});

test.each<[string, (spec: RunSpec) => RunSpec, string]>([
  [
    'a changed value',
    (spec) => ({ ...spec, training: { ...spec.training, learningRate: 0.5 } }),
    `since training.learningRate was ${String(demoSpec().training.learningRate)} and is 0.5`,
  ],
  ['other inputs', (spec) => spec, 'since its model or its data set is another one'],
])('none under another key, and what differs: %s', async (_, change, why) => {
  const store = await log(open, commit);
  expect(await look(store, change, 'another key')).toEqual({
    note: `trains from iteration 0: iteration 40 of run before belongs to another training, ${why}`,
  });
});

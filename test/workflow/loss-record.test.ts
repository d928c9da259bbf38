/** When the loss record is written: once for each training that has ended, however it ended, and never so that it changes the end. */
import { ApplicationFailure, Context } from '@temporalio/activity';
import type { WorkflowFailedError } from '@temporalio/client';
import { expect, test } from 'vitest';
import type { FakeCluster } from '../support/fake-cluster.js';
import { freshClusters } from '../support/fresh-clusters.js';

const start = freshClusters('r');

const trainer = (type: string): ApplicationFailure => ApplicationFailure.nonRetryable(type, type);
const recorded = ({ acts }: FakeCluster): string[] => acts.filter((act) => act.startsWith('record metrics'));

test('after the last commit and before the next stage, also over generations', async () => {
  const fake = await start({
    trainRank: (input, _host, one) => {
      if (input.nodeRank === 0) one.save(input, input.generation === 1 ? 10 : 30);
      return input.generation === 1 ? Promise.reject(trainer('TrainerFailed')) : Promise.resolve({ iteration: 30 });
    },
  });
  await fake.run('run');
  const acts = fake.acts.filter((act) => /^(train|record metrics|record key-train|publish)/.test(act));
  expect(acts.slice(-3)).toEqual(['record metrics of run', 'record key-train', 'publish host-a']);
  expect(recorded(fake)).toHaveLength(1);
  expect(fake.logOf('run').at(-1)).toMatchObject({ fact: 'commit', iteration: 30 });
});

test('replays when every task replays the whole history', async () => {
  const fake = await start({ replays: true });
  expect((await fake.run('replays')).outcome).toBe('promoted');
  expect(recorded(fake)).toEqual(['record metrics of replays']);
});

test('of a training that failed, whose failure stays what it was when the record fails too', async () => {
  const fake = await start({
    trainRank: () => Promise.reject(trainer('OutOfMemory')),
    recordMetrics: () => Promise.reject(trainer('ArtifactCorrupt')),
  });
  const error: unknown = await fake.run('failed').catch((thrown: unknown) => thrown);
  expect((error as WorkflowFailedError).cause).toMatchObject({ type: 'OutOfMemory' });
  expect(recorded(fake)).toEqual(['record metrics of failed']);
});

test('a training that ended well goes on to its promotion without its record', async () => {
  const fake = await start({ recordMetrics: () => Promise.reject(trainer('ArtifactCorrupt')) });
  expect((await fake.run('well')).outcome).toBe('promoted');
  expect(recorded(fake)).toEqual(['record metrics of well']);
});

test('of a run that is cancelled while it trains', async () => {
  const fake = await start({
    trainRank: async () => {
      for (;;) {
        Context.current().heartbeat();
        await Context.current().sleep(50);
      }
    },
  });
  const handle = await fake.submit('cancelled');
  await expect.poll(() => fake.acts.filter((act) => act.startsWith('train')), { timeout: 20_000 }).toHaveLength(2);
  await handle.cancel();
  await expect(handle.result()).rejects.toThrow();
  expect(recorded(fake)).toEqual(['record metrics of cancelled']);
});

test('not by a gang that another writer of the log has replaced', async () => {
  const fake = await start({
    trainRank: (input, _host, one) => {
      if (input.nodeRank === 0) {
        // Somebody else takes the number of the next fact, as after the loss of Temporal's database.
        one.logOf(input.runId).push({ fact: 'open', generation: 9, fromIteration: 0, hosts: [] });
        one.save(input, 30);
      }
      return Promise.resolve({ iteration: 30 });
    },
  });
  const error: unknown = await fake.run('replaced').catch((thrown: unknown) => thrown);
  expect((error as WorkflowFailedError).cause).toMatchObject({ type: 'FactConflict' });
  expect(recorded(fake)).toEqual([]);
});

test('not by a run that has reused the training of another', async () => {
  const fake = await start({ found: ['train'] });
  await fake.run('reused');
  expect(recorded(fake)).toEqual([]);
});

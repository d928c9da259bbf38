/** A loss that is no number, on a real server: back before it, on other hosts, and what comes of that. */
import { ApplicationFailure } from '@temporalio/activity';
import type { WorkflowFailedError } from '@temporalio/client';
import { expect, test } from 'vitest';
import type { TrainRankInput } from '../../src/contract/activities.js';
import { QUERIES, type GangState, type PoolState } from '../../src/contract/messages.js';
import { poolWorkflowId, trainWorkflowId } from '../../src/contract/names.js';
import { freshClusters } from '../support/fresh-clusters.js';

const start = freshClusters('n');

/** As both nodes say it: it began on node 0. */
function notFinite(heard: number): ApplicationFailure {
  const said = { iteration: 15, loss: 'nan', gradNorm: 'nan', lossBefore: '1.5', nodes: [0] };
  return ApplicationFailure.nonRetryable('no number', 'LossDiverged', { iteration: heard, notFinite: said });
}

test('a run goes back before it without the host where it began, which is cordoned when others get past it', async () => {
  const fake = await start({
    trainRank: (input, _host, one) => {
      for (const iteration of input.generation === 1 ? [10, 20] : [30])
        if (input.nodeRank === 0) one.save(input, iteration);
      return input.generation === 1 ? Promise.reject(notFinite(24)) : Promise.resolve({ iteration: 30 });
    },
  });
  await fake.run('host');
  expect(fake.logOf('host').map((fact) => [fact.fact, fact.fact === 'open' ? fact.hosts : fact.iteration])).toEqual([
    ['open', ['host-a', 'host-b']],
    ['commit', 10],
    ['commit', 20],
    ['drop', 20],
    ['open', ['host-c', 'host-b']],
    ['commit', 30],
  ]);
  const looks = fake.acts.filter((act) => act.startsWith('look for NaN')).sort();
  expect(looks).toEqual(['look for NaN g2 host-b', 'look for NaN g2 host-c']);
  const { hosts } = await fake.client.workflow.getHandle(poolWorkflowId(fake.name)).query<PoolState>(QUERIES.pool);
  expect(hosts.map(({ cordon }) => cordon?.until)).toEqual([null, undefined, undefined]);
  expect(hosts[0]?.cordon?.reason).toContain(
    'iteration 15 (loss 1.5 before it) in generation 1; host-c, host-b got past',
  );
  const { incidents } = await fake.client.workflow.getHandle(trainWorkflowId('host')).query<GangState>(QUERIES.gang);
  expect(incidents).toMatchObject([{ generation: 1, host: 'host-a', failure: 'LossDiverged', iterationsLost: 14 }]);
  expect(incidents[0]?.decision).toMatch(/Leaves out host-a.*Other hosts got past it: host-a is cordoned/);
  expect(incidents[0]?.restored).toEqual({ localBytes: 0, downloadedBytes: 20 });
});

test('the same again ends the run with its evidence, and cordons nobody', async () => {
  const stagedAsDamaged: number[] = [];
  const fake = await start({
    stageIn: (iteration) => {
      // Of three commits the last one before it holds numbers that are not finite, so the run goes one further back.
      if (iteration !== 14) return Promise.resolve();
      stagedAsDamaged.push(iteration);
      return Promise.reject(ApplicationFailure.nonRetryable('NaN in it', 'CheckpointDamaged'));
    },
    trainRank: (input: TrainRankInput, _host, one) => {
      for (const iteration of input.generation === 1 ? [10, 14] : [])
        if (input.nodeRank === 0) one.save(input, iteration);
      return Promise.reject(notFinite(14));
    },
  });
  const error: unknown = await fake.run('again').catch((thrown: unknown) => thrown);
  const { cause } = error as WorkflowFailedError;
  expect(cause).toMatchObject({ type: 'LossDiverged' });
  expect(cause?.message).toMatch(
    /generation 1 on host-a, host-b, which began on host-a.*generation 3 on host-c, host-b/,
  );
  expect(cause?.message).toContain('The second time it happened without host-a, so no host is to blame.');
  expect(stagedAsDamaged.length).toBeGreaterThan(0);
  // What is damaged was restored on host-c: the suspect had no part in it.
  const { incidents } = await fake.client.workflow.getHandle(trainWorkflowId('again')).query<GangState>(QUERIES.gang);
  expect(incidents.map(({ host, failure }) => [host, failure])).toEqual([
    ['host-a', 'LossDiverged'],
    ['host-c', 'CheckpointDamaged'],
    ['host-c', 'LossDiverged'],
  ]);
  expect(fake.logOf('again').map((fact) => `${fact.fact} ${String(fact.generation)}`)).toEqual([
    ...['open 1', 'commit 1', 'commit 1', 'open 2', 'drop 1', 'open 3'],
  ]);
  const { hosts } = await fake.client.workflow.getHandle(poolWorkflowId(fake.name)).query<PoolState>(QUERIES.pool);
  expect(hosts.every(({ cordon }) => cordon === null)).toBe(true);
});

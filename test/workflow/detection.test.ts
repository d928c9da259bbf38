/** How a gang tells a lost host from a dead process, a hang from both, and all of them from a control plane that is away. */
import { ApplicationFailure, Context } from '@temporalio/activity';
import { expect, test } from 'vitest';
import type { TrainerLook } from '../../src/contract/activities.js';
import { QUERIES, type GangState, type PoolState } from '../../src/contract/messages.js';
import { poolWorkflowId, trainWorkflowId } from '../../src/contract/names.js';
import {
  answerTooLate,
  endsAfterTheLastCommit,
  gangHangs,
  hostDiesBeforeLaunch,
  hostIsLost,
} from '../histories/detection.js';
import type { Behaviour, FakeCluster } from '../support/fake-cluster.js';
import { freshClusters } from '../support/fresh-clusters.js';

const start = freshClusters('detect');

const trainer = (type: string, message = type): ApplicationFailure => ApplicationFailure.nonRetryable(message, type);
const running: TrainerLook = { trainer: 'running', ranks: [] };

async function runOf(behaviour: Behaviour): Promise<{ readonly fake: FakeCluster; readonly gang: GangState }> {
  const fake = await start(behaviour);
  await fake.run(fake.name);
  const gang = await fake.client.workflow.getHandle(trainWorkflowId(fake.name)).query<GangState>(QUERIES.gang);
  return { fake, gang };
}

async function faults(fake: FakeCluster): Promise<readonly string[]> {
  const { hosts } = await fake.client.workflow.getHandle(poolWorkflowId(fake.name)).query<PoolState>(QUERIES.pool);
  return hosts.flatMap((host) => host.faults.map(({ failure }) => `${host.facts.name} ${failure}`));
}

test('a host that does not answer after its peer has ended is lost, within seconds, and nobody waits for it', async () => {
  const { fake, gang } = await runOf(hostIsLost());
  const [incident] = gang.incidents;
  expect(incident).toMatchObject({ generation: 1, host: 'host-b', failure: 'HostLost', iterationsLost: 7 });
  // By the time in its last heartbeat.
  expect(incident?.secondsToDetect).toBeGreaterThan(0.2);
  expect(incident?.secondsToDetect).toBeLessThan(5);
  expect(incident?.secondsToDecide).toBeGreaterThan(7);
  expect(incident?.secondsToDecide).toBeLessThan(16);
  expect(fake.acts).toContain('stop g1 host-a');
  expect(fake.acts).not.toContain('stop g1 host-b');
  expect(fake.acts).toContain('train g2 node 0 host-a');
  expect(await faults(fake)).toContain('host-b HostLost');
});

test('a gang that hangs has its stacks taken before it is stopped, and names the node that keeps it waiting', async () => {
  const { fake, gang } = await runOf(gangHangs());
  expect(gang.incidents).toMatchObject([
    { generation: 1, host: 'host-a', failure: 'Hung', secondsToDetect: expect.any(Number) as number },
  ]);
  expect(gang.incidents[0]?.message).toBe(
    "No progress. Rank 0 is stopped. Stacks of 1 of 2 ranks are in the run's logs.",
  );
  const acts = fake.acts.filter((act) => /^(probe|stop) g1/.test(act));
  expect(acts.slice(0, 2).sort()).toEqual(['probe g1 with stacks host-a', 'probe g1 with stacks host-b']);
  expect(acts.slice(2).sort()).toEqual(['stop g1 host-a', 'stop g1 host-b']);
  expect(await faults(fake)).toEqual([]);
});

test('a host that dies before its trainer starts is lost within seconds, and nobody waits for the copies of the others', async () => {
  const { fake, gang } = await runOf(hostDiesBeforeLaunch());
  expect(gang.incidents).toMatchObject([{ generation: 1, host: 'host-b', failure: 'HostLost', iterationsLost: 0 }]);
  const acts = fake.acts.filter((act) => /^(stage in|probe|train) /.test(act));
  expect(acts.slice(0, 2).sort()).toEqual(['stage in g1 from 0 host-a', 'stage in g1 from 0 host-b']);
  expect(acts.slice(2, 4).sort()).toEqual(['probe g1 host-a', 'probe g1 host-b']);
  expect(acts.slice(4).sort()).toEqual([
    ...['stage in g2 from 0 host-a', 'stage in g2 from 0 host-c'],
    ...['train g2 node 0 host-a', 'train g2 node 1 host-c'],
  ]);
  expect(await faults(fake)).toContain('host-b HostLost');
});

test('a host that answers and was only slow to be staged in is asked again in the same generation', async () => {
  let late = 0;
  const { fake, gang } = await runOf({
    stageIn: (_, host) =>
      host === 'host-b' && late++ === 0 ? Promise.reject(trainer('NotPickedUp')) : Promise.resolve(),
  });
  expect(gang).toMatchObject({ generation: 1, incidents: [] });
  expect(fake.acts.filter((act) => act.startsWith('stage in')).sort()).toEqual([
    ...['stage in g1 from 0 host-a', 'stage in g1 from 0 host-b', 'stage in g1 from 0 host-b'],
  ]);
});

test.each([
  ['no incident when it only lost a peer', 'PeerLost', []],
  [
    'the incident that it is, and begins nothing again',
    'SupervisorLost',
    [{ host: 'host-b', iterationsLost: 0, decision: 'Training is complete: its last iteration is committed.' }],
  ],
])('how a node ends after the last commit is %s', async (_, type, incidents) => {
  const { fake, gang } = await runOf(endsAfterTheLastCommit(type));
  expect(gang).toMatchObject({ phase: 'done', generation: 1, incidents });
  expect(gang.incidents).toHaveLength(incidents.length);
  expect(fake.acts.filter((act) => act.startsWith('train g2'))).toEqual([]);
});

test('an evaluation whose host is lost goes on to another one', async () => {
  const fake = await start({
    found: ['fetch-model', 'fetch-data', 'convert', 'prepare', 'train', 'publish'],
    stage: async (item, host, one) => {
      if (item === 'evaluate' && host === 'host-a') await one.lose(host);
    },
  });
  expect((await fake.run(fake.name)).outcome).toBe('promoted');
  expect(fake.acts.filter((act) => act.startsWith('evaluate'))).toEqual(['evaluate host-a', 'evaluate host-b']);
});

test('while nobody answers no host is lost: the gang asks again until somebody does', async () => {
  const asked = new Map<string, number>();
  const { fake, gang } = await runOf({
    // No host is heard of from then on.
    isHeard: () => asked.size === 0,
    probeTrainer: async (host) => {
      asked.set(host, (asked.get(host) ?? 0) + 1);
      if (asked.get(host) === 1) await answerTooLate();
      return running;
    },
    trainRank: (input, _host, one) => {
      if (input.nodeRank === 0) one.save(input, input.generation === 1 ? 10 : 30);
      if (input.generation === 1 && input.nodeRank === 1) return Promise.reject(trainer('TrainerFailed', 'Killed.'));
      return Promise.resolve({ iteration: 30 });
    },
    // Every stage before and after is there: the pool of this test names no host.
    found: ['fetch-model', 'fetch-data', 'convert', 'prepare', 'publish', 'evaluate'],
  });
  expect([...asked.values()]).toEqual([2, 2]);
  expect(gang.incidents).toMatchObject([{ host: 'host-b', failure: 'TrainerFailed', message: 'Killed.' }]);
  expect(await faults(fake)).toEqual([]);
});

test('an agent that was too late is asked for a sign of life, and goes on in the same generation', async () => {
  let late = 0;
  const { fake, gang } = await runOf({
    trainRank: (input, _host, one) => {
      if (input.nodeRank === 1 && late++ === 0) return Promise.reject(trainer('NotPickedUp'));
      if (input.nodeRank === 0) one.save(input, 30);
      return Promise.resolve({ iteration: 30 });
    },
  });
  expect(fake.acts.filter((act) => act.startsWith('probe')).sort()).toEqual(['probe g1 host-a', 'probe g1 host-b']);
  expect(gang).toMatchObject({ generation: 1, incidents: [] });
  expect(gang.handovers).toMatchObject([{ who: 'host-b', what: 'its agent was away for a while', isHeard: true }]);
});

test('whose trainer has ended may report before it is stopped, also when another failure was heard first', async () => {
  const { gang } = await runOf({
    probeTrainer: (host) => Promise.resolve(host === 'host-b' ? { trainer: 'lost', ranks: [] } : running),
    trainRank: async (input, host, one) => {
      if (input.nodeRank === 0) one.save(input, input.generation === 1 ? 10 : 30);
      if (input.generation > 1) return { iteration: 30 };
      if (input.nodeRank === 0) throw trainer('TrainerFailed', 'An error of no known meaning.');
      // As a real trainer: who stops it before it has reported learns only that it was stopped.
      for (let turn = 0; turn < 20; turn += 1) {
        if (one.acts.includes(`stop g1 ${host}`)) throw trainer('StaleGeneration', 'It was asked to stop.');
        Context.current().heartbeat();
        await Context.current().sleep(50);
      }
      throw trainer('SupervisorLost', 'Its supervisor was killed.');
    },
  });
  expect(gang.incidents).toMatchObject([{ host: 'host-b', failure: 'SupervisorLost' }]);
});

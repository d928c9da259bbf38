/** What each golden history proves. The name is the file's; the workflow's ids are those that are kept from the scenario. */
import { ApplicationFailure, Context } from '@temporalio/activity';
import { QUERIES, UPDATES, type RunState } from '../../src/contract/messages.js';
import {
  choiceWorkflowId,
  poolWorkflowId,
  retrainWorkflowId,
  runWorkflowId,
  trainWorkflowId,
} from '../../src/contract/names.js';
import { endsAfterTheLastCommit, gangHangs, hostDiesBeforeLaunch, hostIsLost, hostIsUnfit } from './detection.js';
import { OPENING, ref, type Behaviour, type FakeCluster } from '../support/fake-cluster.js';
import { until } from '../support/until.js';

const LIMIT_MS = 30_000;
/** Ends the id of the run that is retried. */
const EARLIER = '-earlier';

/** Both nodes of a generation train. */
const trains = (cluster: FakeCluster, generation: number): Promise<true> =>
  until(`generation ${String(generation)} trains`, LIMIT_MS, () =>
    cluster.acts.filter((act) => act.startsWith(`train g${String(generation)} `)).length === 2 ? true : undefined,
  );

export interface Scenario {
  readonly name: string;
  readonly behaviour: () => Behaviour;
  /** What happens; left out, one run to its end. */
  readonly drive?: (cluster: FakeCluster, name: string) => Promise<unknown>;
}

export const SCENARIOS: readonly Scenario[] = [
  { name: 'all-stages-run', behaviour: () => ({}) },
  {
    name: 'all-stages-reused',
    behaviour: () => ({ found: ['fetch-model', 'fetch-data', 'convert', 'prepare', 'train', 'publish', 'evaluate'] }),
  },
  {
    name: 'begins-from-a-save-folder',
    behaviour: () => ({ opening: { inputs: { ...OPENING.inputs, convert: ['model', 'start'] } } }),
  },
  {
    name: 'rank-dies-then-agent-restarts',
    behaviour: () => {
      let restarts = 0;
      return {
        trainRank: (input, _host, fake) => {
          if (input.nodeRank === 0) fake.save(input, input.generation === 1 ? 10 : 30);
          if (input.generation === 1) return Promise.reject(ApplicationFailure.nonRetryable('killed', 'TrainerFailed'));
          if (input.nodeRank === 1 && restarts++ === 0)
            return Promise.reject(ApplicationFailure.nonRetryable('restarted', 'AgentRestarted'));
          return Promise.resolve({ iteration: 30 });
        },
      };
    },
  },
  {
    name: 'old-commits-make-room',
    behaviour: () => ({
      opening: { keepCheckpoints: 1 },
      trainRank: (input, _host, fake) => {
        for (const iteration of [10, 20, 30]) if (input.nodeRank === 0) fake.save(input, iteration);
        return Promise.resolve({ iteration: 30 });
      },
    }),
  },
  {
    name: 'paused-then-drained',
    behaviour: () => ({
      trainRank: async (input, _host, fake) => {
        const save = (iteration: number): void => {
          if (input.nodeRank === 0) fake.save(input, iteration);
        };
        try {
          while (input.generation < 3) {
            Context.current().heartbeat();
            await Context.current().sleep(50);
          }
        } catch (error) {
          save(7 * input.generation);
          throw error;
        }
        save(30);
        return { iteration: 30 };
      },
    }),
    drive: async (cluster, name) => {
      const run = await cluster.submit(name);
      const ask = (update: string) => run.executeUpdate(update, { args: [{ by: 'a test', why: 'a test' }] });
      await trains(cluster, 1);
      await ask(UPDATES.pauseRun);
      await until('its hosts are given back', LIMIT_MS, async () =>
        (await run.query<RunState>(QUERIES.state)).gang?.phase === 'paused' ? true : undefined,
      );
      await ask(UPDATES.resumeRun);
      await trains(cluster, 2);
      const pool = cluster.client.workflow.getHandle(poolWorkflowId(cluster.name));
      await pool.executeUpdate(UPDATES.drainHost, { args: [{ host: 'host-a', reason: 'a test' }] });
      return run.result();
    },
  },
  {
    name: 'stopped-while-it-trains',
    behaviour: () => ({
      trainRank: async (input, _host, fake) => {
        try {
          for (;;) {
            Context.current().heartbeat();
            await Context.current().sleep(50);
          }
        } finally {
          if (input.nodeRank === 0) fake.save(input, 7);
        }
      },
    }),
    drive: async (cluster, name) => {
      const run = await cluster.submit(name);
      await trains(cluster, 1);
      await run.executeUpdate(UPDATES.stopRun, { args: [{ by: 'a test', why: 'a test' }] });
      return run.result();
    },
  },
  {
    name: 'retried-from-a-commit',
    behaviour: () => ({
      trainRank: (input, _host, fake) => {
        const isEarlier = input.runId.endsWith(EARLIER);
        if (input.nodeRank === 0) fake.save(input, isEarlier ? 10 : 30);
        return isEarlier
          ? Promise.reject(ApplicationFailure.nonRetryable('NPU out of memory', 'OutOfMemory'))
          : Promise.resolve({ iteration: 30 });
      },
    }),
    drive: async (cluster, name) => {
      const earlier = await cluster.submit(`${name}${EARLIER}`);
      await earlier.result().catch(() => undefined);
      return (await cluster.submit(name, { retries: `${name}${EARLIER}` })).result();
    },
  },
  { name: 'host-is-lost', behaviour: hostIsLost },
  { name: 'host-dies-before-launch', behaviour: hostDiesBeforeLaunch },
  { name: 'peer-leaves-first', behaviour: () => endsAfterTheLastCommit('PeerLost') },
  { name: 'gang-hangs', behaviour: gangHangs },
  { name: 'host-is-unfit', behaviour: hostIsUnfit },
  {
    name: 'host-makes-nan',
    behaviour: () => ({
      trainRank: (input, _host, fake) => {
        for (const iteration of input.generation === 1 ? [10, 20] : [30])
          if (input.nodeRank === 0) fake.save(input, iteration);
        if (input.generation > 1) return Promise.resolve({ iteration: 30 });
        const notFinite = { iteration: 15, loss: 'nan', nodes: [0] };
        return Promise.reject(
          ApplicationFailure.nonRetryable('no number', 'LossDiverged', { iteration: 24, notFinite }),
        );
      },
    }),
  },
  { name: 'gate-rejects', behaviour: () => ({ accuracy: 0.1 }) },
  {
    name: 'retrain-from-promoted',
    behaviour: () => ({ model: { current: { number: 1, published: ref('promoted') } } }),
    drive: async (cluster, name) => (await cluster.retrain(name, 'promoted')).result(),
  },
  {
    name: 'retrain-skips',
    behaviour: () => ({ model: { trainedBy: 'earlier' } }),
    drive: async (cluster, name) => (await cluster.retrain(name)).result(),
  },
  {
    name: 'model-chosen-by-hand',
    behaviour: () => ({}),
    drive: async (cluster, name) => (await cluster.choose(name)).result(),
  },
  {
    name: 'host-is-dirty',
    behaviour: () => ({
      vacateHost: (host) =>
        host === 'host-a'
          ? Promise.reject(ApplicationFailure.nonRetryable('A process survives SIGKILL.', 'HostDirty'))
          : Promise.resolve(),
    }),
  },
];

/** The workflows of a scenario whose histories are kept; a run that reuses everything has no gang. */
export function workflowsOf(name: string, cluster: string): readonly (readonly [kind: string, workflowId: string])[] {
  const run = [['fine-tune', runWorkflowId(name)]] as const;
  const retrain = [['retrain', retrainWorkflowId(name)]] as const;
  if (name === 'all-stages-reused') return run;
  if (name === 'retrain-from-promoted') return [...retrain, ...run];
  if (name === 'retrain-skips') return retrain;
  if (name === 'model-chosen-by-hand') return [['choose-model', choiceWorkflowId(name)]];
  return [...run, ['train-gang', trainWorkflowId(name)], ['host-pool', poolWorkflowId(cluster)]];
}

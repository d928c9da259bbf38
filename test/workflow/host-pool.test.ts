/** The pool on a real server: who may register, what is proven empty when, and that its leases outlive it. */
import { ApplicationFailure, Context } from '@temporalio/activity';
import { WorkflowUpdateFailedError } from '@temporalio/client';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { QUERIES, UPDATES, type PoolState, type RunState } from '../../src/contract/messages.js';
import { poolWorkflowId, SEARCH_ATTRIBUTES, trainWorkflowId } from '../../src/contract/names.js';
import { hostStatus } from '../../src/plan/hosts.js';
import { FakeCluster, HOSTS, type Behaviour } from '../support/fake-cluster.js';
import { startTemporal, type TestServer } from '../support/temporal.js';
import { until } from '../support/until.js';

const LIMIT_MS = 60_000;
/** So short that a pool of three hosts has to continue as new several times during one test. */
const SHORT_HISTORY = 'limit.historyCount.suggestContinueAsNew=60';

let server: TestServer;
let cluster: FakeCluster;
let clusters = 0;

beforeAll(async () => {
  server = await startTemporal(SEARCH_ATTRIBUTES, [SHORT_HISTORY]);
});
afterEach(() => cluster.stop());
afterAll(() => server.stop());

async function start(behaviour: Behaviour): Promise<void> {
  cluster = await FakeCluster.start(server.address, `pool-${String((clusters += 1))}`, behaviour);
}

const pool = () => cluster.client.workflow.getHandle(poolWorkflowId(cluster.name));
const look = (): Promise<PoolState> => pool().query<PoolState>(QUERIES.pool);
const statuses = async (): Promise<string[]> => (await look()).hosts.map(hostStatus);
const allFree = () =>
  until(
    'all hosts are free',
    LIMIT_MS,
    async () => (await statuses()).every((status) => status === 'free') || undefined,
  );

/** Trains until the test says so. */
class Held {
  #isHeld = true;
  readonly behaviour: Behaviour = {
    opening: { hosts: 3 },
    trainRank: async (input, _host, fake) => {
      while (this.#isHeld) {
        Context.current().heartbeat();
        await Context.current().sleep(50);
      }
      if (input.nodeRank === 0) fake.save(input, 30);
      return { iteration: 30 };
    },
  };
  letGo(): void {
    this.#isHeld = false;
  }
}

/** A run that trains on all three hosts. */
async function training(runId: string) {
  const run = await cluster.submit(runId);
  await until(`run ${runId} trains`, LIMIT_MS, () =>
    cluster.acts.filter((act) => act.startsWith('train')).length === HOSTS.length ? true : undefined,
  );
  return run;
}

test('a second agent of a name is refused with a sentence, the same one after a restart is not', async () => {
  await start({});
  const second = cluster.register('host-a', { workRootId: 'elsewhere' });
  const error: unknown = await second.catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(WorkflowUpdateFailedError);
  const { cause } = error as WorkflowUpdateFailedError;
  expect(cause).toMatchObject({ type: 'HostNameTaken' });
  expect(cause?.message).toContain('The host name "host-a" is taken');
  await cluster.register('host-a', { agentPid: 4711 });
  expect((await look()).hosts.map(({ facts }) => facts.agentPid === 4711)).toEqual([true, false, false]);
});

test('a host that cannot be proven empty is not granted, and free again soon after it can', async () => {
  let isDirty = true;
  await start({
    vacateHost: (host) =>
      host === 'host-a' && isDirty
        ? Promise.reject(ApplicationFailure.nonRetryable('pid 7 hangs', 'HostDirty'))
        : Promise.resolve(),
  });
  await cluster.run('clean');
  expect(cluster.acts.filter((act) => act.startsWith('train')).sort()).toEqual([
    'train g1 node 0 host-b',
    'train g1 node 1 host-c',
  ]);
  const dirty = (await look()).hosts[0];
  expect(dirty?.vacating).toMatchObject({ failure: 'HostDirty', why: 'pid 7 hangs' });
  isDirty = false;
  await until('it is free', LIMIT_MS, async () => ((await look()).hosts[0]?.vacating === null ? true : undefined));
});

test('a lease that is given back is taken back under a higher fence, and only then is the host free', async () => {
  // A pool that continues as new asks again, under the same number.
  const fences = new Set<string>();
  let isStuck = true;
  await start({
    vacateHost: async (host, fence) => {
      fences.add(`${host} ${String(fence)}`);
      while (isStuck && fence > 1) {
        Context.current().heartbeat();
        await Context.current().sleep(50);
      }
    },
  });
  await allFree();
  await cluster.run('first');
  expect([...fences].slice(0, 3).sort()).toEqual(['host-a 1', 'host-b 1', 'host-c 1']);
  // The training had a and b, the evaluation after it c.
  await until('all three are being vacated', LIMIT_MS, async () => {
    const found = await statuses();
    return found.every((status) => status === 'vacating') || undefined;
  });
  isStuck = false;
  await allFree();
  expect([...fences].slice(3).sort()).toEqual(['host-a 3', 'host-b 3', 'host-c 3']);
});

test('a lease whose owner was terminated is taken back', async () => {
  const held = new Held();
  await start({ ...held.behaviour, watches: true });
  const run = await training('terminated');
  await run.terminate('by the test');
  held.letGo();
  await allFree();
  expect((await look()).hosts.map(({ fence }) => fence)).toEqual([3, 3, 3]);
});

test('a gang that was reset gives up what it held and goes on under a lease of its own', async () => {
  const held = new Held();
  await start(held.behaviour);
  const gang = await cluster.train('reset', { hosts: 3 });
  await until(
    'it trains',
    LIMIT_MS,
    () => cluster.acts.filter((act) => act.startsWith('train g1')).length === 3 || undefined,
  );
  const before = await look();
  const { events } = await gang.fetchHistory();
  const first = events?.find(({ workflowTaskCompletedEventAttributes: completed }) => completed);
  // As by a click in the UI, to its very begin.
  await cluster.client.workflowService.resetWorkflowExecution({
    namespace: 'default',
    workflowExecution: { workflowId: gang.workflowId, runId: gang.firstExecutionRunId },
    workflowTaskFinishEventId: first?.eventId ?? null,
    requestId: 'reset',
    reason: 'by the test',
  });
  await until(
    'it trains again',
    LIMIT_MS,
    () => cluster.acts.filter((act) => act.startsWith('train g2')).length === 3 || undefined,
  );
  const now = await look();
  expect(now.hosts.map(({ owner }) => owner?.generation)).toEqual([2, 2, 2]);
  expect(now.hosts.map(({ owner }) => owner?.firstRunId)).toEqual(before.hosts.map(({ owner }) => owner?.firstRunId));
  expect(now.hosts.map(({ fence }) => fence)).toEqual([4, 4, 4]);
  held.letGo();
  const reset = cluster.client.workflow.getHandle(gang.workflowId);
  expect(await reset.result()).toMatchObject({ facts: { iteration: 30, generation: 2 } });
  await allFree();
});

test('a pool that was terminated and begun anew grants nothing that an agent says is held, and those who wait ask again', async () => {
  const held = new Held();
  await start(held.behaviour);
  await training('first');
  const before = (await look()).hosts;
  const second = await cluster.submit('second');
  await until('the second run waits', LIMIT_MS, async () => (await look()).waiting[0]);
  await pool().terminate('by the test');
  for (const { facts, owner, fence } of before) await cluster.register(facts.name, { fence, held: owner });
  expect((await look()).hosts.map(({ owner }) => owner?.workflowId)).toEqual(HOSTS.map(() => trainWorkflowId('first')));
  await until('the second run has asked the new pool', LIMIT_MS, async () => (await look()).waiting[0]);
  held.letGo();
  await second.result();
  const fences = (await look()).hosts.map(({ fence }) => fence);
  expect(Math.min(...fences)).toBeGreaterThan(Math.max(...before.map(({ fence }) => fence)));
});

test('leases, cordons, queue and fences outlive every continue-as-new', async () => {
  const held = new Held();
  await start({ ...held.behaviour, opening: { hosts: 2 } });
  await allFree();
  await pool().executeUpdate(UPDATES.cordonHost, { args: [{ host: 'host-c', reason: 'fan' }] });
  const first = await cluster.submit('first');
  await until('the first run holds its hosts', LIMIT_MS, async () =>
    (await statuses()).filter((status) => status === 'leased').length === 2 ? true : undefined,
  );
  const second = await cluster.submit('second');
  await until('the second run waits', LIMIT_MS, async () => (await look()).waiting[0]);
  const before = await look();
  const runIdOf = async (): Promise<string> => (await pool().describe()).runId;
  const runId = await runIdOf();
  // Every registration is an update: a few dozen fill the history.
  await until('the pool has continued as new', LIMIT_MS, async () => {
    await cluster.register('host-a');
    return (await runIdOf()) === runId ? undefined : true;
  });
  const { facts, ...hostA } = before.hosts[0]!;
  expect(await look()).toMatchObject({
    ...before,
    hosts: [{ ...hostA, facts: { name: facts.name } }, ...before.hosts.slice(1)],
  });
  await until('the second run knows why it waits', LIMIT_MS, async () => {
    const { stages } = await second.query<RunState>(QUERIES.state);
    const note = stages.find(({ stage }) => stage === 'train')?.note;
    return note === 'Waits for 2 hosts with 1 cpu NPUs each: 0 free, 2 leased, 0 silent, 1 cordoned.'
      ? true
      : undefined;
  });
  held.letGo();
  await Promise.all([first.result(), second.result()]);
});

/** Stop, pause, resume and drain on a real server: what is saved and committed, what goes back, what goes on, and what is refused. */
import { ApplicationFailure, Context } from '@temporalio/activity';
import { afterEach, describe, expect, test } from 'vitest';
import { Anneal, RequestRefusedError, RunFailedError, type RunHandle } from '../../src/client/index.js';
import type { TrainRankResult } from '../../src/contract/activities.js';
import { hostStatus } from '../../src/plan/hosts.js';
import type { Behaviour, FakeCluster } from '../support/fake-cluster.js';
import { freshClusters } from '../support/fresh-clusters.js';
import { until } from '../support/until.js';

const LIMIT_MS = 60_000;
const BY = { by: 'ada', why: 'the room is too warm' };
/** Iterations from a generation's begin to the moment at which it is asked to save. */
const SAVED = 7;

const start = freshClusters('graceful');
let fake: FakeCluster;
let anneal: Anneal;

async function submit(behaviour: Behaviour): Promise<RunHandle> {
  fake = await start(behaviour);
  const { options } = fake.client.connection as unknown as { readonly options: { readonly address: string } };
  anneal = await Anneal.connect({ address: options.address, cluster: fake.name });
  await fake.submit(fake.name);
  return anneal.runs.get(fake.name);
}
afterEach(() => anneal.close());

/** Generations before the last one train until they are told to end; then node 0 saves, as a trainer does. */
function endless(last: number, hosts = 2): Behaviour {
  return {
    opening: { hosts, keepCheckpoints: 9 },
    trainRank: async (input, _host, cluster): Promise<TrainRankResult> => {
      if (input.generation >= last) {
        if (input.nodeRank === 0) cluster.save(input, 30);
        return { iteration: 30 };
      }
      try {
        for (;;) {
          Context.current().heartbeat();
          await Context.current().sleep(50);
        }
      } finally {
        if (input.nodeRank === 0) cluster.save(input, input.resumeIteration + SAVED);
      }
    },
  };
}

const trains = (generation: number) =>
  until(`generation ${String(generation)} trains`, LIMIT_MS, () =>
    fake.acts.filter((act) => act.startsWith(`train g${String(generation)} `)).length >= 2 ? true : undefined,
  );
const phase = (run: RunHandle, wanted: string) =>
  until(`the gang is ${wanted}`, LIMIT_MS, async () => {
    const state = await run.state();
    return state?.gang?.phase === wanted ? state : undefined;
  });
const hostsFree = () =>
  until('all hosts are free', LIMIT_MS, async () =>
    (await anneal.hosts.list()).every((host) => hostStatus(host) === 'free') ? true : undefined,
  );
const logged = (runId = fake.name): string[] =>
  fake
    .logOf(runId)
    .map(
      (fact) => `${fact.fact} g${String(fact.generation)}${fact.fact === 'open' ? '' : ` ${String(fact.iteration)}`}`,
    );
const refusal = async (asking: Promise<unknown>): Promise<string> => {
  const error: unknown = await asking.catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(RequestRefusedError);
  return (error as RequestRefusedError).message;
};

describe('stop', () => {
  test('ends a training with a save that is committed, gives the hosts back, and is no failure', async () => {
    const run = await submit(endless(9));
    await trains(1);
    const [first, again] = [await run.stop(BY), await run.stop({ by: 'bob' })];
    expect(again).toEqual(first);
    const error: unknown = await run.result().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(RunFailedError);
    expect(error).toMatchObject({ failure: 'Stopped' });
    expect((error as Error).message).toMatch(/was stopped by ada at .* UTC: the room is too warm\.$/);
    const handle = fake.client.workflow.getHandle(run.workflowId);
    expect((await handle.describe()).status.name).toBe('COMPLETED');
    expect(await handle.result()).toMatchObject({ outcome: 'stopped', committedIteration: SAVED, stopped: BY });
    expect(logged()).toEqual(['open g1', `commit g1 ${String(SAVED)}`]);
    const state = await run.state();
    expect(state?.stages.map(({ status }) => status)).toEqual([
      'done',
      'done',
      'done',
      'stopped',
      'waiting',
      'waiting',
    ]);
    expect(state?.gang?.incidents).toEqual([]);
    await hostsFree();
    expect(await refusal(run.stop(BY))).toContain(`The run "${fake.name}" has ended (completed)`);
    expect(await refusal(run.pause(BY))).toContain('has ended');
  });
});

describe('pause', () => {
  test('of a training: saved and committed, hosts given back, refused twice, and resumed from the commit', async () => {
    const run = await submit(endless(3));
    await trains(1);
    await run.pause(BY);
    const { paused } = await phase(run, 'paused');
    expect(paused).toMatchObject(BY);
    await hostsFree();
    expect(logged()).toEqual(['open g1', `commit g1 ${String(SAVED)}`]);
    expect(await refusal(run.pause({ by: 'bob' }))).toMatch(
      /^The run ".*" is already paused by ada since .* UTC: the room is too warm\. "anneal resume /,
    );
    await run.resume();
    await trains(2);
    expect(await refusal(run.resume())).toContain('is not paused');
    expect(fake.acts).toContain(`stage in g2 from ${String(SAVED)} host-a`);
    // Once more, and resumed before the trainers have ended: they have heard of it, so a new generation goes on.
    await run.pause(BY);
    await run.resume();
    expect((await run.result()).outcome).toBe('promoted');
    expect(logged()).toEqual([
      ...['open g1', `commit g1 ${String(SAVED)}`, 'open g2', `commit g2 ${String(2 * SAVED)}`],
      ...['open g3', 'commit g3 30'],
    ]);
    expect((await run.state())?.paused).toBeUndefined();
  });

  test('of another stage takes effect at its end, and a paused run can be stopped', async () => {
    let go: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (go = resolve));
    const run = await submit({ stage: (item) => (item === 'convert' ? held : Promise.resolve()) });
    await until('it converts', LIMIT_MS, () => (fake.acts.includes('convert host-a') ? true : undefined));
    await run.pause(BY);
    go();
    const note = await until('the next stage waits', LIMIT_MS, async () => {
      const prepare = (await run.state())?.stages.find(({ stage }) => stage === 'prepare');
      return prepare?.status === 'waiting' && prepare.note !== '' ? prepare.note : undefined;
    });
    expect(note).toMatch(/^Waits: paused by ada since .*: the room is too warm$/);
    expect((await run.state())?.stages.find(({ stage }) => stage === 'convert')?.status).toBe('done');
    await until('the list shows it', LIMIT_MS, async () =>
      (await anneal.runs.list()).find(({ status }) => status === 'paused'),
    );
    await run.stop(BY);
    await expect(run.result()).rejects.toMatchObject({ failure: 'Stopped' });
    expect(fake.acts.some((act) => act.startsWith('prepare'))).toBe(false);
  });

  test('of a gang that waits for hosts leaves the queue, and no generation was opened', async () => {
    const run = await submit({ ...endless(1), opening: { hosts: 4 } });
    await until('it waits', LIMIT_MS, async () => (await anneal.hosts.queue()).length === 1 || undefined);
    await run.pause(BY);
    await phase(run, 'paused');
    expect(await anneal.hosts.queue()).toEqual([]);
    await run.resume();
    await until('it waits again', LIMIT_MS, async () => (await anneal.hosts.queue()).length === 1 || undefined);
    await run.stop(BY);
    await expect(run.result()).rejects.toMatchObject({ failure: 'Stopped' });
    expect(logged()).toEqual([]);
  });
});

describe('drain', () => {
  test('a gang that holds the host saves, moves to other hosts, and no budget or host is charged', async () => {
    const run = await submit(endless(2));
    await trains(1);
    const { owner } = await anneal.hosts.drain('host-a', 'fan');
    expect(owner?.generation).toBe(1);
    expect((await run.result()).outcome).toBe('promoted');
    expect(logged()).toEqual(['open g1', `commit g1 ${String(SAVED)}`, 'open g2', 'commit g2 30']);
    expect(fake.acts.filter((act) => act.startsWith('train g2')).sort()).toEqual([
      // Who stays keeps its rank, and with it what it has of the commit.
      'train g2 node 0 host-c',
      'train g2 node 1 host-b',
    ]);
    expect((await run.state())?.gang?.incidents).toMatchObject([
      { generation: 1, host: 'host-a', failure: 'Drained', message: 'It is drained: fan', iterationsLost: 0 },
    ]);
    const [drained] = await anneal.hosts.list();
    expect(drained).toMatchObject({ owner: null, faults: [], cordon: { reason: 'fan', until: null } });
  });

  test('a gang that stages in moves before anything was launched', async () => {
    let staged = 0;
    const run = await submit({
      ...endless(1),
      stageIn: async () => {
        if ((staged += 1) > 2) return;
        for (;;) {
          Context.current().heartbeat();
          await Context.current().sleep(50);
        }
      },
    });
    await until('both hosts stage in', LIMIT_MS, () => staged === 2 || undefined);
    await anneal.hosts.drain('host-a', 'fan');
    expect((await run.result()).outcome).toBe('promoted');
    expect(logged()).toEqual(['open g1', 'open g2', 'commit g2 30']);
    expect(fake.acts.filter((act) => act.startsWith('train g')).sort()).toEqual([
      'train g2 node 0 host-c',
      'train g2 node 1 host-b',
    ]);
    expect((await run.state())?.gang?.incidents).toMatchObject([
      { generation: 1, host: 'host-a', failure: 'Drained', iterationsLost: 0 },
    ]);
  });

  test('a host that nobody holds is cordoned, and an evaluation moves as a gang does', async () => {
    const run = await submit({
      stage: async (item, host) => {
        if (item !== 'evaluate' || host !== 'host-b') return;
        for (;;) {
          Context.current().heartbeat();
          await Context.current().sleep(50);
        }
      },
      trainRank: endless(1).trainRank!,
      opening: { hosts: 2 },
    });
    expect((await anneal.hosts.drain('host-a', 'fan')).owner).toBeNull();
    await until('it evaluates', LIMIT_MS, () => (fake.acts.includes('evaluate host-b') ? true : undefined));
    await anneal.hosts.drain('host-b', 'fan');
    expect((await run.result()).outcome).toBe('promoted');
    expect(fake.acts.filter((act) => act.startsWith('evaluate'))).toEqual(['evaluate host-b', 'evaluate host-c']);
  });
});

describe('retry', () => {
  test('goes on from the last commit of a run that has failed, once, and refuses what has nothing to retry', async () => {
    const run = await submit({
      trainRank: (input, _host, cluster) => {
        const isFirst = input.runId === fake.name;
        if (input.nodeRank === 0) cluster.save(input, isFirst ? 10 : 30);
        return isFirst
          ? Promise.reject(ApplicationFailure.nonRetryable('NPU out of memory', 'OutOfMemory'))
          : Promise.resolve({ iteration: 30 });
      },
    });
    await expect(run.result()).rejects.toMatchObject({ failure: 'OutOfMemory' });
    expect(fake.logOf(fake.name)[0]).toMatchObject({ fact: 'open', stageKey: 'key-train' });
    const [retried, again] = [await anneal.runs.retry(run.runId), await anneal.runs.retry(run.runId)];
    expect([retried.runId, retried.existed, again.existed]).toEqual([`${fake.name}-r2`, false, true]);
    expect((await retried.result()).outcome).toBe('promoted');
    expect(fake.acts).toContain('stage in g1 from 10 host-a');
    expect(logged(retried.runId)).toEqual(['commit g0 10', 'open g1', 'commit g1 30']);
    expect((await retried.state())?.retry).toEqual({ of: fake.name, note: 'goes on' });
    expect(await refusal(anneal.runs.retry(retried.runId))).toContain('has ended as promoted');
  });

  test('of a retry that was stopped before its training goes on from the commit of the first run', async () => {
    let held = (): void => undefined;
    const holding = new Promise<void>((resolve) => (held = resolve));
    let isRetried = false;
    const run = await submit({
      trainRank: (input, _host, cluster) => {
        const isFirst = input.runId === fake.name;
        if (input.nodeRank === 0) cluster.save(input, isFirst ? 10 : 30);
        return isFirst
          ? Promise.reject(ApplicationFailure.nonRetryable('NPU out of memory', 'OutOfMemory'))
          : Promise.resolve({ iteration: 30 });
      },
      stage: (item) => (item === 'convert' && isRetried ? holding : Promise.resolve()),
    });
    await expect(run.result()).rejects.toMatchObject({ failure: 'OutOfMemory' });
    isRetried = true;
    const stopped = await anneal.runs.retry(run.runId);
    await until('it converts', LIMIT_MS, () =>
      fake.acts.filter((act) => act.startsWith('convert')).length === 2 ? true : undefined,
    );
    await stopped.stop();
    await expect(stopped.result()).rejects.toMatchObject({ failure: 'Stopped' });
    held();
    const last = await anneal.runs.retry(stopped.runId);
    expect((await last.result()).outcome).toBe('promoted');
    expect(logged(last.runId)).toEqual(['commit g0 10', 'open g1', 'commit g1 30']);
    expect((await last.state())?.retry).toEqual({ of: stopped.runId, note: 'goes on' });
  });

  test('of a run that goes on is refused', async () => {
    const run = await submit(endless(9));
    await trains(1);
    expect(await refusal(anneal.runs.retry(run.runId))).toContain('goes on, so it cannot be retried');
    await run.stop();
    await expect(run.result()).rejects.toMatchObject({ failure: 'Stopped' });
  });
});

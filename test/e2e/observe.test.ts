/**
 * A trainer and who watches it: what only the watching ends leaves the trainer alone, what ends the run ends it at once. Real server,
 * control worker, agents and supervisors; the trainer is a stand-in.
 */
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { WorkflowHandle } from '@temporalio/client';
import { runWorkflowId, trainWorkflowId } from '../../src/contract/names.js';
import { readProcess } from '../../src/process/proc.js';
import { readExit } from '../../src/process/trainer-files.js';
import { monotonicSeconds } from '../../src/process/wait.js';
import { LEASE_SECONDS, Rig, type Node } from '../support/rig.js';
import { until, within } from '../support/until.js';

const LIMIT_MS = 60_000;
const ENDLESS = { iterations: 100_000, every: 100 };

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start(['host-a', 'host-b']);
});
afterAll(() => rig.stop());

const text = (node: Node, name: string): Promise<string> => readFile(join(node.dir, name), 'utf8').catch(() => '');
/** The attempts that an agent has open, as it keeps them for the next one. */
const attempts = async (host: string): Promise<string> =>
  (await readdir(join(rig.root, host, 'attempts')).catch(() => [])).sort().join();
const lease = async (node: Node): Promise<number> => Number(await text(node, 'lease'));
const isAlive = (pid: number): boolean => readProcess(pid) !== undefined;

/** Both trainers have ended because one at least was asked to; who is asked first takes the other along, as in Megatron. */
async function expectStopped(nodes: readonly Node[]): Promise<void> {
  const reasons = await Promise.all(nodes.map(async ({ dir }) => (await readExit(dir))?.reason));
  expect(reasons).toContain('stopped');
  expect(reasons.every((reason) => reason === 'stopped' || reason === 'exited')).toBe(true);
  for (const { supervisor, trainer } of nodes) expect([isAlive(supervisor), isAlive(trainer)]).toEqual([false, false]);
}

/** The running `trainRank` of a host, as the Temporal UI shows it. */
async function pending(workflowId: string, host: string) {
  const { raw } = await rig.client.workflow.getHandle(workflowId).describe();
  return (raw.pendingActivities ?? []).find(
    ({ activityType, lastWorkerIdentity }) =>
      activityType?.name === 'trainRank' && lastWorkerIdentity?.startsWith(`agent/rig/${host}@`),
  );
}

async function timeouts(workflowId: string): Promise<number> {
  const { events } = await rig.client.workflow.getHandle(workflowId).fetchHistory();
  return (events ?? []).filter(({ activityTaskTimedOutEventAttributes: of }) => of).length;
}

describe('one trainer, whatever happens to who watches it', () => {
  const RUN = 'watched';
  const workflowId = trainWorkflowId(RUN);
  let nodes: readonly [Node, Node];
  let run: WorkflowHandle;
  let starts: readonly (number | undefined)[];

  beforeAll(async () => {
    run = await rig.train(RUN, ENDLESS);
    nodes = await rig.nodes(RUN);
    starts = nodes.flatMap(({ supervisor, trainer }) => [readProcess(supervisor)?.start, readProcess(trainer)?.start]);
    await until('both are watched', LIMIT_MS, async () => (await pending(workflowId, 'host-b')) ?? undefined);
  });

  /** Both trainers are those of the beginning, in the first generation, and train. */
  async function expectUndisturbed(): Promise<void> {
    expect(
      nodes.flatMap(({ supervisor, trainer }) => [readProcess(supervisor)?.start, readProcess(trainer)?.start]),
    ).toEqual(starts);
    expect((await rig.history(RUN)).filter((word) => word.startsWith('open'))).toEqual(['open 1']);
    const before = (await rig.printed(nodes[1])).length;
    await until('training goes on', LIMIT_MS, async () => (await rig.printed(nodes[1])).length > before || undefined);
  }

  const idOf = async (): Promise<string> =>
    until('the attempt is known', LIMIT_MS, async () => (await pending(workflowId, 'host-b'))?.activityId ?? undefined);
  const ask = async () => ({ namespace: 'default', execution: { workflowId }, identity: 'a click', id: await idOf() });

  test('PAUSED is ignored: the attempt goes on and renews the lease', async () => {
    const before = await attempts('host-b');
    await rig.client.workflowService.pauseActivity({ ...(await ask()), reason: 'a test' });
    await until('it is paused', LIMIT_MS, async () => (await pending(workflowId, 'host-b'))?.paused || undefined);
    const pausedAt = monotonicSeconds();
    // Two beats at least were sent after the pause.
    await until('the lease is renewed', LIMIT_MS, async () => (await lease(nodes[1])) > pausedAt + 2.5 || undefined);
    await rig.client.workflowService.unpauseActivity(await ask());
    await until(
      'it is not paused',
      LIMIT_MS,
      async () => (await pending(workflowId, 'host-b'))?.paused === false || undefined,
    );
    expect(await attempts('host-b')).toBe(before);
    await expectUndisturbed();
  });

  test.each<[string, () => Promise<void>]>([
    [
      'RESET',
      async () => {
        await rig.client.workflowService.resetActivity(await ask());
      },
    ],
    [
      'WORKER_SHUTDOWN: its agent is asked to end, and another one is started',
      async () => {
        await rig.kill('host-b', 'SIGTERM');
        await rig.addHost('host-b');
      },
    ],
    [
      'its agent is killed, and another one is started',
      async () => {
        await rig.kill('host-b');
        await rig.addHost('host-b');
      },
    ],
    [
      'NOT_FOUND: its agent was frozen until the server had given the attempt up',
      async () => {
        const before = await timeouts(workflowId);
        rig.signal('host-b', 'SIGSTOP');
        await until(
          'the server reports silence',
          LIMIT_MS,
          async () => (await timeouts(workflowId)) > before || undefined,
        );
        rig.signal('host-b', 'SIGCONT');
      },
    ],
    [
      'TIMED_OUT: its agent was cut off from the server for less than its lease',
      async () => {
        const before = await timeouts(workflowId);
        rig.line('host-b').cut();
        await until(
          'the server reports silence',
          LIMIT_MS,
          async () => (await timeouts(workflowId)) > before || undefined,
        );
        rig.line('host-b').mend();
      },
    ],
  ])('%s: another attempt adopts it, and the trainer does not notice', async (_, act) => {
    const before = await attempts('host-b');
    await act();
    await until('another attempt watches', LIMIT_MS, async () => {
      const now = await attempts('host-b');
      return (now !== before && now !== '' && (await pending(workflowId, 'host-b'))) || undefined;
    });
    const adoptedAt = monotonicSeconds();
    await until('the lease is renewed', LIMIT_MS, async () => (await lease(nodes[1])) > adoptedAt || undefined);
    await expectUndisturbed();
  });

  test('a second agent of the host is refused in a sentence, and the first goes on', async () => {
    const second = await rig.startAgent('host-b', 'second');
    const [code] = (await once(second, 'exit', { signal: AbortSignal.timeout(LIMIT_MS) })) as [number | null];
    expect(code).toBe(1);
    expect(rig.said('second')).toContain('host-b');
    expect(rig.said('second')).toContain(String(rig.pid('host-b')));
    expect(rig.said('second')).not.toContain('    at ');
    await expectUndisturbed();
  });

  test('a requested cancel ends it with a save that is committed; no iteration was lost or done twice', async () => {
    await run.cancel();
    await expect(within('the gang ends', LIMIT_MS, run.result())).rejects.toThrow();
    await expectStopped(nodes);
    const printed = await rig.printed(nodes[1]);
    expect(printed).toEqual(printed.map((_, index) => index + 1));
    const commits = (await rig.log(RUN)).flatMap((fact) => (fact.fact === 'commit' ? [fact.iteration] : []));
    expect(commits.at(-1)).toBe(printed.length);
    await until(
      'the hosts are free',
      LIMIT_MS,
      async () => (await rig.owners()).every((one) => one === null) || undefined,
    );
  });
});

describe('a run that is terminated, as by a click in the UI', () => {
  /** Well below the lease: the beats hear of it, every two seconds, and the trainer saves first. */
  const SOON_SECONDS = 10;
  /** Two agents start meanwhile. */
  const STARTS_SECONDS = 15;

  test.each<[string, string, (runId: string) => string, boolean]>([
    ['the run with its gang', 'ended-both', runWorkflowId, false],
    ['only the gang', 'ended-gang', trainWorkflowId, false],
    ['while the agents are down', 'ended-down', runWorkflowId, true],
  ])('has no trainer any more within seconds: %s', async (_, runId, workflowId, isDown) => {
    await rig.fineTune(runId, ENDLESS);
    const nodes = await rig.nodes(runId);
    await until(
      'both are watched',
      LIMIT_MS,
      async () => (await pending(trainWorkflowId(runId), 'host-b')) ?? undefined,
    );
    if (isDown) for (const { host } of nodes) await rig.kill(host);
    await rig.client.workflow.getHandle(workflowId(runId)).terminate('a test');
    const from = monotonicSeconds();
    if (isDown) for (const { host } of nodes) await rig.addHost(host);
    for (const { dir } of nodes) await until('its end is reported', LIMIT_MS, () => readExit(dir));
    const took = monotonicSeconds() - from;
    console.log(`terminated, ${runId}: trainers gone after ${took.toFixed(1)} s`);
    expect(took).toBeLessThan(SOON_SECONDS + (isDown ? STARTS_SECONDS : 0));
    await expectStopped(nodes);
    await until(
      'the hosts are free',
      LIMIT_MS,
      async () => (await rig.owners()).every((one) => one === null) || undefined,
    );
  });
});

test('an agent that is cut off for longer than the lease: the trainer ends by itself, and the run recovers', async () => {
  await rig.hold(150);
  const run = await rig.train('cut', { iterations: 200, every: 100 });
  await rig.logged('cut', 'commit 100');
  const [, node] = await rig.nodes('cut');
  rig.line(node.host).cut();
  const from = monotonicSeconds();
  const exit = await until('the trainer has ended', LIMIT_MS, () => readExit(node.dir));
  const took = monotonicSeconds() - from;
  expect(exit.reason).toBe('lease');
  expect(took).toBeGreaterThan(LEASE_SECONDS - 5);
  rig.line(node.host).mend();
  await rig.hold();
  await within('the training ends', 2 * LIMIT_MS, run.result());
  const history = await rig.history('cut');
  expect(history.slice(0, 2)).toEqual(['open 1', 'commit 100']);
  expect(history.at(-1)).toBe('commit 200');
  const opened = (await rig.log('cut')).flatMap((fact) => (fact.fact === 'open' ? [fact.fromIteration] : []));
  expect(opened.slice(1).every((iteration) => iteration === 100)).toBe(true);
});

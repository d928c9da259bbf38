/**
 * What people ask of a run while it trains: pause and resume, drain a host, stop, retry. Each ends in the bits of a run that nobody
 * has touched, and no iteration is trained twice: what a trainer had done when it was asked is saved, shipped and committed.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { FineTuneResult, RunHandle } from '../../src/client/index.js';
import { hostStatus } from '../../src/plan/hosts.js';
import { DevCluster } from '../support/dev-cluster.js';
import { commitsOf, forget, readLog } from '../support/run-files.js';
import { smallSpec, writeDigits } from '../support/small-run.js';
import { until, within } from '../support/until.js';

const LIMIT_MS = 240_000;
const ITERATIONS = 80;

let cluster: DevCluster;
let spec: ReturnType<typeof smallSpec>;
let undisturbed: FineTuneResult;

beforeAll(async () => {
  cluster = await DevCluster.start({ agents: 3 });
  const data = join(cluster.root, 'data');
  await writeDigits(data);
  spec = smallSpec({ data, iterations: ITERATIONS });
  undisturbed = await endOf(await cluster.anneal.runs.start(spec, { key: 'undisturbed' }));
});
afterAll(async () => {
  expect(await cluster.stop()).toEqual([]);
});

const endOf = (run: RunHandle): Promise<FineTuneResult> => within(`run ${run.runId} ends`, LIMIT_MS, run.result());

/** A run that trains, since what the one before has trained is forgotten. */
async function training(key: string): Promise<RunHandle> {
  await forget(cluster, 'checkpoint');
  return cluster.anneal.runs.start(spec, { key });
}

/** Resolves with the newest commit, once there is one beyond `iteration`. */
const committedBeyond = (runId: string, iteration: number): Promise<number> =>
  until(`${runId} commits beyond iteration ${String(iteration)}`, LIMIT_MS, async () => {
    const last = (await commitsOf(cluster, runId)).at(-1)?.iteration ?? 0;
    return last > iteration ? last : undefined;
  });

const allFree = (but: readonly string[] = []): Promise<true> =>
  until('the hosts are given back and proven empty', LIMIT_MS, async () => {
    const hosts = (await cluster.anneal.hosts.list()).filter(({ facts }) => !but.includes(facts.name));
    return hosts.every((host) => hostStatus(host) === 'free') ? true : undefined;
  });

const opensOf = async (runId: string) => (await readLog(cluster, runId)).filter((fact) => fact.fact === 'open');

/** Every iteration was trained once, whatever generation did it: the record has no other row. */
async function expectEachOnce(run: RunHandle, from: number, to: number): Promise<void> {
  const { rows } = await run.metrics();
  expect(rows.map(({ iteration }) => iteration)).toEqual(
    Array.from({ length: to - from + 1 }, (_, index) => from + index),
  );
  expect(rows.some(({ rolledBackBy }) => rolledBackBy !== undefined)).toBe(false);
}

test('paused and resumed, then moved off a host that is drained: the same bits, and no iteration lost', async () => {
  const run = await training('moved');
  await committedBeyond('moved', 0);
  const pausing = await cluster.cli('pause', 'moved', '--why', 'the night run goes first');
  expect([pausing.code, pausing.stdout]).toEqual([0, expect.stringContaining('moved is asked to pause')]);
  const paused = await until('the gang is paused', LIMIT_MS, async () => {
    const state = await run.state();
    return state?.gang?.phase === 'paused' ? state : undefined;
  });
  expect(paused.paused?.why).toBe('the night run goes first');
  await allFree();
  const kept = (await commitsOf(cluster, 'moved')).at(-1)?.iteration ?? 0;
  const again = await cluster.cli('pause', 'moved');
  expect([again.code, again.stderr]).toEqual([
    2,
    expect.stringMatching(/already paused by .*: the night run goes first/),
  ]);
  await until('the list says so', LIMIT_MS, async () =>
    (await cluster.cli('runs')).stdout.includes('paused') ? true : undefined,
  );

  expect((await cluster.cli('resume', 'moved')).code).toBe(0);
  const beyond = await committedBeyond('moved', kept);
  const [, second] = await opensOf('moved');
  expect(second?.fromIteration).toBe(kept);
  const [drained = ''] = second?.hosts ?? [];
  const draining = await cluster.cli('hosts', 'drain', drained, '--reason', 'fan');
  expect([draining.code, draining.stdout]).toEqual([0, expect.stringContaining('run/moved/train holds it')]);
  const { weightsDigest } = await endOf(run);
  expect(weightsDigest).toBe(undisturbed.weightsDigest);
  const [, , third] = await opensOf('moved');
  expect(third?.hosts).not.toContain(drained);
  expect(third?.fromIteration).toBeGreaterThan(beyond);
  await expectEachOnce(run, 1, ITERATIONS);
  const host = await cluster.anneal.hosts.get(drained);
  expect(host).toMatchObject({ owner: null, faults: [], cordon: { reason: 'fan' } });
  expect((await run.state())?.gang?.incidents).toMatchObject([
    { failure: 'Drained', host: drained, iterationsLost: 0 },
  ]);
  expect((await cluster.cli('hosts', 'uncordon', drained)).code).toBe(0);
});

test('stopped while it trains: what was trained is committed, the hosts go back, and nothing can be asked of it any more', async () => {
  const run = await training('stopped');
  await committedBeyond('stopped', 0);
  const stopping = await cluster.cli('stop', 'stopped', '--why', 'wrong gate');
  expect([stopping.code, stopping.stdout]).toEqual([0, expect.stringContaining('stopped is asked to stop')]);
  const watched = await cluster.cli('watch', 'stopped');
  expect(watched.code).toBe(1);
  expect(watched.stdout).toMatch(/! stopped: The run "stopped" was stopped by .* UTC: wrong gate\./);
  await allFree();
  const last = (await commitsOf(cluster, 'stopped')).at(-1)?.iteration ?? 0;
  expect(last).toBeLessThan(ITERATIONS);
  await expectEachOnce(run, 1, last);
  const late = await cluster.cli('resume', 'stopped');
  expect([late.code, late.stderr]).toEqual([2, expect.stringContaining('The run "stopped" has ended')]);
});

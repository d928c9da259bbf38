/**
 * What people ask of a run while it trains: pause and resume, drain a host, stop, retry. Each ends in the bits of a run that nobody
 * has touched, and no iteration is trained twice: what a trainer had done when it was asked is saved, shipped and committed.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import type { FineTuneResult, RunHandle } from '../../src/client/index.js';
import { hostStatus } from '../../src/plan/hosts.js';
import { DevCluster } from '../support/dev-cluster.js';
import { commitsOf, forget, readLog } from '../support/run-files.js';
import { smallSpec, writeDigits } from '../support/small-run.js';
import { until, within } from '../support/until.js';

const LIMIT_MS = 240_000;
/** With batches so large that an iteration takes long beside what passes between a request and its save, some seconds. */
const ITERATIONS = 100;
const BATCH = 256;
const IMAGES = 300;

let cluster: DevCluster;
let spec: ReturnType<typeof smallSpec>;
let undisturbed: FineTuneResult;

beforeAll(async () => {
  cluster = await DevCluster.start({ agents: 3 });
  const data = join(cluster.root, 'data');
  await writeDigits(data, IMAGES);
  const small = smallSpec({ data, iterations: ITERATIONS });
  spec = { ...small, training: { ...small.training, globalBatchSize: BATCH } };
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
  const beyond = await until('the second generation trains', LIMIT_MS, async () => {
    const iteration = (await run.snapshot())?.training?.iteration ?? 0;
    return (await opensOf('moved')).length === 2 && iteration > kept ? iteration : undefined;
  });
  const [, second] = await opensOf('moved');
  expect(second?.fromIteration).toBe(kept);
  const [drained = ''] = second?.hosts ?? [];
  const draining = await cluster.cli('hosts', 'drain', drained, '--reason', 'fan');
  expect([draining.code, draining.stdout]).toEqual([0, expect.stringContaining('run/moved/train holds it')]);
  const { weightsDigest } = await endOf(run);
  expect(weightsDigest).toBe(undisturbed.weightsDigest);
  const [, , third] = await opensOf('moved');
  expect(third?.hosts).not.toContain(drained);
  expect(third?.fromIteration).toBeGreaterThanOrEqual(beyond);
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

test('retried with a changed spec: goes on from the commit of the stopped run, and ends in the same bits', async () => {
  const changed = { ...spec, name: 'repaired', checkpoint: { everyIterations: 20 } };
  const file = join(cluster.root, 'repaired.yaml');
  await writeFile(file, stringify(changed));
  const last = (await commitsOf(cluster, 'stopped')).at(-1);
  const retrying = await cluster.cli('retry', 'stopped', '--spec', file);
  expect([retrying.code, retrying.stdout]).toEqual([
    0,
    expect.stringContaining('stopped-r2 is started; it retries stopped.'),
  ]);
  const run = cluster.anneal.runs.get('stopped-r2');
  const { weightsDigest } = await endOf(run);
  expect(weightsDigest).toBe(undisturbed.weightsDigest);
  const state = await run.state();
  expect(state?.stages.slice(0, 3).map(({ status }) => status)).toEqual(['reused', 'reused', 'reused']);
  expect(state?.retry?.note).toBe(`goes on from iteration ${String(last?.iteration)}, which run stopped has committed`);
  const log = await readLog(cluster, 'stopped-r2');
  expect(log[0]).toEqual({ ...last, generation: 0 });
  expect(log[1]).toMatchObject({ fact: 'open', generation: 1, fromIteration: last?.iteration });
  await expectEachOnce(run, (last?.iteration ?? 0) + 1, ITERATIONS);
  // What the other run has committed is still its own, though the new one has dropped it as too old.
  expect(log).toContainEqual(expect.objectContaining({ fact: 'drop', generation: 0, iteration: last?.iteration }));
  expect(await cluster.store.head(last?.checkpoint.manifestKey ?? '')).toBeDefined();
  expect((await cluster.cli('report', 'stopped-r2')).stdout).toContain('goes on from iteration');
  const again = await cluster.cli('retry', 'stopped-r2');
  expect([again.code, again.stderr]).toEqual([2, expect.stringContaining('there is nothing to retry')]);
});

test('who waits for hosts goes by the priority of the spec, and the queue says so', async () => {
  const hosts = ['host-a', 'host-b'];
  for (const host of hosts) expect((await cluster.cli('hosts', 'cordon', host, '--reason', 'a test')).code).toBe(0);
  const waits = (count: number) =>
    until(`${String(count)} wait`, LIMIT_MS, async () => {
      const waiting = await cluster.anneal.hosts.queue();
      return waiting.length === count ? waiting : undefined;
    });
  const normal = await training('normal');
  await waits(1);
  const high = await cluster.anneal.runs.start({ ...spec, priority: 'high' }, { key: 'high' });
  expect(await waits(2)).toMatchObject([
    { owner: { workflowId: 'run/high/train' }, place: 1, priority: 'high' },
    { owner: { workflowId: 'run/normal/train' }, place: 2, priority: 'normal' },
  ]);
  expect((await cluster.cli('hosts', 'queue')).stdout).toMatch(
    /2 +normal +run\/normal\/train .*1 of them of a higher priority/,
  );
  for (const run of [normal, high]) {
    await run.stop();
    await expect(run.result()).rejects.toMatchObject({ failure: 'Stopped' });
  }
  expect(await opensOf('normal')).toEqual([]);
  for (const host of hosts) await cluster.anneal.hosts.uncordon(host);
});

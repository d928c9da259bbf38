/**
 * A schedule on real parts, by the commands of a user: it fires every few seconds, trains once, skips while the data stays as it is, trains
 * from the promoted model when the data has changed, and leaves a rollback alone. Each test goes on from the one before.
 */
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { defaultPayloadConverter } from '@temporalio/common';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import type { ModelListing, Promotion, RetrainListing, ScheduleListing, ScheduleView } from '../../src/client/index.js';
import type { FineTuneInput } from '../../src/contract/messages.js';
import { DevCluster, type Answer } from '../support/dev-cluster.js';
import { activitiesOf, withTemporal } from '../support/run-history.js';
import { smallSpec, writeDigits } from '../support/small-run.js';
import { until } from '../support/until.js';

/** A training takes half a minute on two free cores; every firing meanwhile is skipped by the overlap policy. */
const RUN_LIMIT_MS = 400_000;
/** A firing comes every five seconds, and its outcome is in the list some seconds later. */
const FIRING_LIMIT_MS = 60_000;

let cluster: DevCluster;
let specFile: string;
let data: string;

beforeAll(async () => {
  cluster = await DevCluster.start({ agents: 2 });
  data = join(cluster.root, 'data');
  await writeDigits(data);
  specFile = join(cluster.root, 'spec.yaml');
  await writeFile(specFile, stringify(smallSpec({ data, iterations: 20 })));
});
afterAll(async () => {
  expect(await cluster.stop()).toEqual([]);
});

async function ok(...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await cluster.cli(...args);
  expect(`${String(code)} ${stderr}`).toBe('0 ');
  return stdout;
}
const json = async <T>(...args: readonly string[]): Promise<T> => JSON.parse(await ok(...args, '--json')) as T;
const retrains = async (): Promise<readonly RetrainListing[]> =>
  (await json<ScheduleView>('schedule', 'show', 'nightly')).retrains;
const promotions = (): Promise<readonly Promotion[]> => json('models', 'show', 'small');

/** Waits for the first retrain that began after a moment, to its end. */
function retrainAfter(moment: number, limitMs: number): Promise<RetrainListing> {
  return until('a retrain of the schedule ends', limitMs, async () => {
    const started = (await retrains()).filter(({ startedAt }) => Date.parse(startedAt) > moment);
    const first = started.at(-1);
    return first?.endedAt === null ? undefined : first;
  });
}

test('a spec or a time that cannot work is refused, and no schedule is created', async () => {
  const wrong = join(cluster.root, 'wrong.yaml');
  const small = smallSpec({ data, iterations: 20 });
  await writeFile(wrong, stringify({ ...small, layout: { ...small.layout, hosts: 3 } }));
  const refused: readonly (readonly [Answer, RegExp])[] = [
    [await cluster.cli('schedule', 'create', 'nightly', wrong, '--every', '5s'), /wrong\.yaml is refused/],
    [await cluster.cli('schedule', 'create', 'nightly', specFile, '--at', '25:00'), /The time "25:00" cannot be read/],
    [await cluster.cli('schedule', 'create', 'nightly', specFile), /no time at which it fires/],
  ];
  for (const [{ code, stderr }, expected] of refused) {
    expect(stderr).toMatch(expected);
    expect(code).toBe(2);
  }
  expect(await json<readonly ScheduleListing[]>('schedule', 'list')).toEqual([]);
});

test('the first firing trains and promotes, the second skips', async () => {
  const created = Date.now();
  await ok('schedule', 'create', 'nightly', specFile, '--every', '5s', '--from', 'promoted');
  const twice = await cluster.cli('schedule', 'create', 'nightly', specFile, '--every', '5s');
  expect([twice.code, twice.stderr]).toMatchObject([2, /There is a schedule "nightly" already/]);

  const first = await retrainAfter(created, RUN_LIMIT_MS);
  expect(first).toMatchObject({ outcome: 'promoted' });
  expect(first.runId).toMatch(/^nightly-\d{4}-\d\d-\d\dt\d\d-\d\d-\d\dz$/);
  const second = await retrainAfter(Date.parse(first.endedAt ?? ''), FIRING_LIMIT_MS);
  expect(second).toMatchObject({ outcome: 'skipped: unchanged', runId: '' });
  expect(await promotions()).toMatchObject([{ number: 1, runId: first.runId, base: 0 }]);
  // The firings during the training were left out, not queued.
  expect((await json<ScheduleView>('schedule', 'show', 'nightly')).skipped).toBeGreaterThan(0);
  expect((await cluster.anneal.runs.list()).map(({ runId }) => runId)).toEqual([first.runId]);
});

test('paused it fires no more; changed data is trained on from the promoted model, and promoted past the gate', async () => {
  await ok('schedule', 'pause', 'nightly', '--why', 'new digits come');
  expect(await json<ScheduleView>('schedule', 'show', 'nightly')).toMatchObject({
    paused: true,
    note: 'new digits come',
  });
  const [before] = await promotions();
  await rm(data, { recursive: true });
  await writeDigits(data, 200);

  const changed = Date.now();
  await ok('schedule', 'resume', 'nightly');
  const third = await retrainAfter(changed, RUN_LIMIT_MS);
  expect(third).toMatchObject({ outcome: 'promoted' });
  const [, promotion] = await promotions();
  expect(promotion).toMatchObject({ number: 2, runId: third.runId, base: 1 });
  expect(promotion!.data.fingerprint).not.toBe(before!.data.fingerprint);

  // It began from the promoted model, not from the spec's: that one was not even looked at.
  const asked = await activitiesOf(cluster.state.address, `run/${third.runId}`);
  expect(asked.filter(({ type }) => type === 'fingerprintSource')).toEqual([]);
  expect(asked.find(({ type }) => type === 'convertModel')?.input).toMatchObject({
    inputs: { model: { digest: before!.published.digest } },
  });
  const result = await cluster.anneal.runs.get(third.runId).result();
  expect(result.accuracy).toBeGreaterThanOrEqual(result.baseAccuracy);
  const input = await inputOf(third.runId);
  expect(input.retrain).toMatchObject({ base: { number: 1 }, data: promotion!.data });
});

test('a rollback makes the earlier model current again, and the schedule leaves it so', async () => {
  const [first] = await promotions();
  const said = await ok('models', 'rollback', 'small', '--why', 'worse at sevens');
  expect(said).toContain(`small is now the model of run ${first!.runId}, as promotion 3`);
  const fired = await retrainAfter(Date.now(), FIRING_LIMIT_MS);
  expect(fired).toMatchObject({ outcome: 'skipped: unchanged' });
  const [listed] = await json<readonly ModelListing[]>('models', 'list');
  expect(listed).toMatchObject({
    name: 'small',
    current: { number: 3, published: first!.published, chosen: { why: 'worse at sevens', bringsBack: 1 } },
  });
  const again = await cluster.cli('models', 'rollback', 'small');
  expect([again.code, again.stderr]).toMatchObject([2, /Model small had no other model before the current one/]);
});

test('triggered it fires at once, also while it is paused; deleted it is gone', async () => {
  await ok('schedule', 'pause', 'nightly');
  const triggered = Date.now() - 1000;
  await ok('schedule', 'trigger', 'nightly');
  expect(await retrainAfter(triggered, FIRING_LIMIT_MS)).toMatchObject({ outcome: 'skipped: unchanged' });
  expect(await ok('schedule', 'show', 'nightly')).toMatch(/nightly\n +fires +every 5s/);
  await ok('schedule', 'delete', 'nightly');
  const gone = await cluster.cli('schedule', 'show', 'nightly');
  expect([gone.code, gone.stderr]).toMatchObject([4, /There is no schedule "nightly" here/]);
});

async function inputOf(runId: string): Promise<FineTuneInput> {
  return withTemporal(cluster.state.address, async (client) => {
    const { events } = await client.workflow.getHandle(`run/${runId}`).fetchHistory();
    const payload = events?.[0]?.workflowExecutionStartedEventAttributes?.input?.payloads?.[0];
    return defaultPayloadConverter.fromPayload<FineTuneInput>(payload!);
  });
}

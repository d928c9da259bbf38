/** The SDK's schedules and models on a real server: what is created, shown, steered, refused, and chosen by hand. */
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import {
  Anneal,
  ChoiceRefusedError,
  ScheduleExistsError,
  ScheduleNotFoundError,
  ScheduleRefusedError,
  SpecRefusedError,
} from '../../src/client/index.js';
import { FolderStore } from '../../src/storage/folder-store.js';
import { composableInput } from '../support/composable.js';
import { FakeCluster } from '../support/fake-cluster.js';
import { scratchFolder } from '../support/scratch.js';
import { startTemporal, type TestServer } from '../support/temporal.js';
import { until } from '../support/until.js';

const spec = composableInput('digits');

let server: TestServer;
let fake: FakeCluster;
let anneal: Anneal;
let clusters = 0;
let content = 'one';

beforeAll(async () => {
  server = await startTemporal();
});
afterAll(() => server.stop());
afterEach(async () => {
  await anneal.close();
  await fake.stop();
});

async function start(): Promise<void> {
  clusters += 1;
  const cluster = `s${String(clusters)}`;
  const folder = join(await scratchFolder(), 'store');
  const store = new FolderStore(folder);
  fake = await FakeCluster.start(server.address, cluster, {
    store,
    fingerprint: () => content,
    result: (stage, { runId }) =>
      stage === 'publish'
        ? { artifacts: { published: { prefix: `artifacts/${runId}/`, manifestKey: 'm', digest: runId } } }
        : undefined,
  });
  anneal = await Anneal.connect({ address: server.address, cluster, store: folder });
}

/** Fires and waits for the retrain's end as the schedule shows it. */
async function fire(name: string, before: number): Promise<{ outcome: string; runId: string }> {
  await anneal.schedules.trigger(name);
  return until('the retrain that was triggered ends', 30_000, async () => {
    const { retrains } = await anneal.schedules.show(name);
    return retrains.length > before && retrains[0]?.endedAt !== null ? retrains[0] : undefined;
  });
}

test('a schedule is created, shown, listed, steered and deleted', async () => {
  await start();
  const timetable = { at: ['mon-fri 03:30'], cron: ['0 4 * * 6'], timeZone: 'Europe/Berlin' };
  await anneal.schedules.create('nightly', spec, {
    ...timetable,
    ...{ from: 'promoted', overlap: 'buffer-one', catchUp: '2h', pauseOnFailure: true },
  });
  const view = await anneal.schedules.show('nightly');
  expect(view).toMatchObject({
    ...{ name: 'nightly', model: 'digits', timetable, from: 'promoted', overlap: 'buffer-one', catchUpSeconds: 7200 },
    ...{ pauseOnFailure: true, paused: false, missed: 0, skipped: 0, retrains: [] },
  });
  expect(view.spec.evaluation.heldOutFraction).toBe(0.2);
  // 03:30 in Berlin is 01:30 or 02:30 in UTC.
  expect(view.next[0]).toMatch(/T0[123]:(30|00):00\.000Z$/);
  await until('the schedule is listed', 15_000, async () =>
    (await anneal.schedules.list()).find(({ name, model }) => name === 'nightly' && model === 'digits'),
  );
  await anneal.schedules.pause('nightly', 'holidays');
  expect(await anneal.schedules.show('nightly')).toMatchObject({ paused: true, note: 'holidays' });
  await anneal.schedules.resume('nightly', 'over');
  expect(await anneal.schedules.show('nightly')).toMatchObject({ paused: false, note: 'over' });
  await anneal.schedules.delete('nightly');
  await expect(anneal.schedules.show('nightly')).rejects.toThrow(ScheduleNotFoundError);
});

test('what cannot work is refused in words, and nothing is created', async () => {
  await start();
  const { create } = {
    create: (...args: Parameters<Anneal['schedules']['create']>) => anneal.schedules.create(...args),
  };
  const wrong = { ...spec, layout: { ...spec.layout, hosts: 3 } };
  await expect(create('refused', wrong, { every: ['1d'] })).rejects.toThrow(SpecRefusedError);
  await expect(create('Refused', spec, { every: ['1d'] })).rejects.toThrow(/name "Refused" cannot be a schedule's/);
  await expect(create('refused', spec, {})).rejects.toThrow(ScheduleRefusedError);
  await expect(create('refused', spec, { every: ['1d'], catchUp: '5s' })).rejects.toThrow(/write 10s or more/);
  // Only the server reads the fields.
  await expect(create('refused', spec, { cron: ['0 3 * 13 *'] })).rejects.toThrow(/The server refuses these times/);
  await expect(anneal.schedules.show('refused')).rejects.toThrow(/no schedule "refused" here.*anneal schedule list/);
  for (const ask of ['pause', 'resume'] as const)
    await expect(anneal.schedules[ask]('refused', 'why')).rejects.toThrow(ScheduleNotFoundError);
  for (const ask of ['trigger', 'delete'] as const)
    await expect(anneal.schedules[ask]('refused')).rejects.toThrow(ScheduleNotFoundError);
});

test('a name is taken once', async () => {
  await start();
  await anneal.schedules.create('taken', spec, { every: ['1d'], paused: true });
  await expect(anneal.schedules.create('taken', spec, { every: ['1d'] })).rejects.toThrow(ScheduleExistsError);
  await anneal.schedules.delete('taken');
});

test('fired it trains, skips, trains on new data; a rollback stands, a run is promoted by hand', async () => {
  await start();
  content = 'one';
  await anneal.schedules.create('fired', spec, { every: ['30d'], paused: true });
  const first = await fire('fired', 0);
  expect(first.outcome).toBe('promoted');
  // The server has appended the time to the workflow's id, and the run is named after both.
  expect(first.runId).toMatch(/^fired-\d{4}-\d\d-\d\dt\d\d-\d\d-\d\dz$/);
  const skipped = await fire('fired', 1);
  expect(skipped).toMatchObject({ outcome: 'skipped: unchanged', runId: '' });
  content = 'two';
  const second = await fire('fired', 2);
  expect(second.outcome).toBe('promoted');

  await anneal.models.rollback('digits', 'worse at sevens');
  expect((await fire('fired', 3)).outcome).toBe('skipped: unchanged');
  const promoted = async (): Promise<readonly string[]> =>
    (await anneal.models.show('digits')).map(({ runId, chosen }) => `${runId} ${chosen?.why ?? ''}`.trim());
  expect(await promoted()).toEqual([first.runId, second.runId, `${first.runId} worse at sevens`]);
  await anneal.models.promote(second.runId, 'sevens are fine');
  expect(await anneal.models.list()).toMatchObject([{ name: 'digits', current: { number: 4, runId: second.runId } }]);

  const refused = anneal.models.promote('nobody', 'why');
  await expect(refused).rejects.toThrow(ChoiceRefusedError);
  await expect(refused).rejects.toThrow(/There is no run nobody/);
  await anneal.schedules.delete('fired');
});

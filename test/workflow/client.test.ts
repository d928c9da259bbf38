/** The SDK against a real server: starting once by key, watching, what it says of runs that fail or are not there. */
import { ApplicationFailure } from '@temporalio/activity';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  Anneal,
  KeyConflictError,
  RunFailedError,
  RunNotFoundError,
  SpecRefusedError,
  type RunEvent,
} from '../../src/client/index.js';
import type { RunSpecInput } from '../../src/spec/run.js';
import { FakeCluster, type Behaviour } from '../support/fake-cluster.js';
import { startTemporal, type TestServer } from '../support/temporal.js';
import { until } from '../support/until.js';

const spec: RunSpecInput = {
  version: 1,
  name: 'test',
  model: { family: 'internvl3', preset: 'internvl3-tiny', source: { uri: 'file:///model' } },
  data: { source: { uri: 'file:///data' } },
  runtime: { kind: 'cpu' },
  layout: { hosts: 2, npusPerHost: 1, distTrain: { vision: { npus: 1 }, language: { npus: 1 } } },
  training: { iterations: 30, globalBatchSize: 64, microBatchSize: 32, sequenceLength: 48, learningRate: 0.003 },
  checkpoint: { everyIterations: 10 },
  publish: { model: 'digits' },
};

let server: TestServer;
let fake: FakeCluster | undefined;
let anneal: Anneal;
let clusters = 0;

beforeAll(async () => {
  server = await startTemporal();
});
afterAll(() => server.stop());
afterEach(async () => {
  await anneal.close();
  await fake?.stop();
  fake = undefined;
});

async function start(behaviour: Behaviour): Promise<void> {
  clusters += 1;
  const cluster = `sdk${String(clusters)}`;
  fake = await FakeCluster.start(server.address, cluster, behaviour);
  anneal = await Anneal.connect({ address: server.address, cluster });
}

async function watched(events: AsyncIterable<RunEvent>): Promise<readonly RunEvent[]> {
  const found: RunEvent[] = [];
  for await (const event of events) found.push(event);
  return found;
}

const told = (events: readonly RunEvent[]): string[] =>
  events
    .filter(({ type }) => type.startsWith('stage') || type === 'outcome')
    .map((event) => ('stage' in event ? `${event.type} ${event.stage}` : event.type));

describe('starting', () => {
  test('with the same key twice is one run', async () => {
    await start({});
    const first = await anneal.runs.start(spec, { key: 'same-key' });
    const second = await anneal.runs.start(spec, { key: 'same-key' });
    expect([first.existed, second.existed]).toEqual([false, true]);
    const results = await Promise.all([first.result(), second.result()]);
    expect(results[0]).toEqual(results[1]);
    // Also after its end: the result is there, nothing runs again.
    const acts = fake!.acts.length;
    const third = await anneal.runs.start(spec, { key: 'same-key' });
    expect(third.existed).toBe(true);
    expect(await third.result()).toEqual(results[0]);
    expect(fake!.acts.length).toBe(acts);
  });

  test('two at the same moment with one key is one run', async () => {
    await start({});
    const handles = await Promise.all(Array.from({ length: 4 }, () => anneal.runs.start(spec, { key: 'race' })));
    expect(handles.filter(({ existed }) => !existed)).toHaveLength(1);
    await handles[0]!.result();
  });

  test('another spec under a key that is taken is refused', async () => {
    await start({});
    const first = await anneal.runs.start(spec, { key: 'taken' });
    const other = { ...spec, training: { ...spec.training, iterations: 40 } };
    await expect(anneal.runs.start(other, { key: 'taken' })).rejects.toThrow(KeyConflictError);
    await first.result();
  });

  test('without a key is a new run each time', async () => {
    await start({});
    const [first, second] = [await anneal.runs.start(spec), await anneal.runs.start(spec)];
    expect(first.runId).not.toBe(second.runId);
    expect(first.runId).toMatch(/^test-[0-9a-f]{8}$/);
    await Promise.all([first.result(), second.result()]);
  });

  test('a refused spec starts nothing', async () => {
    await start({});
    const wrong = { ...spec, layout: { ...spec.layout, hosts: 3 } };
    await expect(anneal.runs.start(wrong, { key: 'refused' })).rejects.toThrow(SpecRefusedError);
    await expect(anneal.runs.get('refused').result()).rejects.toThrow(RunNotFoundError);
  });
});

describe('watching', () => {
  test('tells every stage in order and ends with the outcome, also of a run that has ended', async () => {
    await start({});
    const run = await anneal.runs.start(spec);
    const live = await watched(run.watch({ pollMs: 50 }));
    const later = await watched(anneal.runs.get(run.runId).watch({ pollMs: 50 }));
    const stages = ['fetch', 'convert', 'prepare', 'train', 'publish', 'evaluate'];
    expect(told(later)).toEqual([
      ...stages.flatMap((stage) => [`stage-started ${stage}`, `stage-done ${stage}`]),
      'outcome',
    ]);
    expect(told(live).sort()).toEqual(told(later).sort());
    expect(live.at(-1)).toEqual({
      type: 'outcome',
      outcome: 'promoted',
      message: 'accuracy 10.0 % before, 97.0 % after',
    });
  });

  test('tells what was reused', async () => {
    await start({ found: ['fetch-model', 'fetch-data', 'convert', 'prepare', 'train', 'publish', 'evaluate'] });
    const run = await anneal.runs.start(spec);
    const events = await watched(run.watch({ pollMs: 50 }));
    expect(events.filter(({ type }) => type === 'stage-reused')).toHaveLength(6);
  });

  test('of a run that fails ends with the sentence of its root', async () => {
    const failure = ApplicationFailure.nonRetryable('Row 7 has no image.', 'DataRefused');
    await start({ stage: (item) => (item === 'prepare' ? Promise.reject(failure) : Promise.resolve()) });
    const run = await anneal.runs.start(spec);
    const events = await watched(run.watch({ pollMs: 50 }));
    expect(told(events)).toContain('stage-failed prepare');
    expect(events.at(-1)).toMatchObject({
      type: 'outcome',
      outcome: 'failed',
      message: expect.stringContaining('Row 7 has no image.') as unknown,
    });
    const error: unknown = await run.result().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(RunFailedError);
    expect((error as RunFailedError).failure).toBe('DataRefused');
  });

  test('ends with the reason of an aborted signal, and the run goes on', async () => {
    let open: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => (open = resolve));
    await start({ stage: (item) => (item === 'convert' ? gate : Promise.resolve()) });
    const run = await anneal.runs.start(spec);
    const stop = new AbortController();
    const watching = watched(run.watch({ pollMs: 50, signal: stop.signal }));
    stop.abort(new Error('enough'));
    await expect(watching).rejects.toThrow('enough');
    open();
    expect((await run.result()).outcome).toBe('promoted');
  });

  test('a run that is not there says so', async () => {
    await start({});
    await expect(watched(anneal.runs.get('nobody').watch())).rejects.toThrow(/no run "nobody".*anneal runs/);
  });
});

describe('lists', () => {
  test('runs of this cluster with their outcome, and its hosts', async () => {
    await start({});
    const run = await anneal.runs.start(spec);
    await run.result();
    const listed = await until('the run is listed with its end', 15_000, async () =>
      (await anneal.runs.list()).find(({ runId, endedAt }) => runId === run.runId && endedAt !== null),
    );
    expect(listed).toMatchObject({ name: 'test', model: 'digits', status: 'promoted' });
    expect(await anneal.runs.findRunning(spec)).toBeUndefined();
    expect((await anneal.hosts.list()).map(({ facts }) => facts.name)).toEqual(['host-a', 'host-b', 'host-c']);
  });

  test('hosts of a cluster that never had one are none', async () => {
    anneal = await Anneal.connect({ address: server.address, cluster: 'empty' });
    expect(await anneal.hosts.list()).toEqual([]);
    expect(await anneal.runs.list()).toEqual([]);
  });
});

test('a server that is not there is named with the remedy, within the limit', async () => {
  anneal = await Anneal.connect({ address: server.address, cluster: 'any' });
  const connecting = Anneal.connect({ address: '127.0.0.1:1', connectTimeoutMs: 500 });
  await expect(connecting).rejects.toThrow(/No Temporal server answers at 127\.0\.0\.1:1\./);
});

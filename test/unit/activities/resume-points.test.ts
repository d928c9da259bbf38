/** Stage keys and resume points: the same work has the same key, and nothing damaged is found. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import { MockActivityEnvironment } from '@temporalio/testing';
import { beforeEach, describe, expect, test } from 'vitest';
import { createResumePoints, stageKeyOf } from '../../../src/activities/control/resume-points.js';
import { writeRunDocuments } from '../../../src/activities/run-documents.js';
import type { FindResumePointInput, ResumePointLookup } from '../../../src/contract/activities.js';
import type { RunSpec } from '../../../src/spec/run.js';
import { FolderStore } from '../../../src/storage/folder-store.js';
import { publishArtifact } from '../../../src/storage/file-set.js';
import { demoPlan, demoSpec } from '../../support/demo-plan.js';
import { scratchFolder } from '../../support/scratch.js';

const spec = demoSpec();
const input: FindResumePointInput = {
  runId: 'run',
  item: 'train',
  inputs: { model: 'm', converted: 'c', dataset: 'd' },
};
const keyOf = (changed: RunSpec, asked: FindResumePointInput = input): string =>
  stageKeyOf(asked, demoPlan(changed), changed);

describe('a stage key', () => {
  const training = (change: Partial<RunSpec['training']>): RunSpec => ({
    ...spec,
    training: { ...spec.training, ...change },
  });

  test.each<[string, RunSpec]>([
    ['the learning rate', training({ learningRate: 0.001 })],
    ['the seed', training({ seed: 7 })],
    ['what is frozen', { ...spec, model: { ...spec.model, freeze: ['vision'] } }],
  ])('of train changes with %s', (_, changed) => {
    expect(keyOf(changed)).not.toBe(keyOf(spec));
  });

  test.each<[string, RunSpec]>([
    ['the name', { ...spec, name: 'another' }],
    ['the save interval', { ...spec, checkpoint: { ...spec.checkpoint, everyIterations: 30 } }],
    ['the gate', { ...spec, evaluation: { ...spec.evaluation, minimumAccuracy: 0.5 } }],
    ['the published name', { ...spec, publish: { model: 'other' } }],
  ])('of train does not change with %s', (_, changed) => {
    expect(keyOf(changed)).toBe(keyOf(spec));
  });

  test('of convert and prepare does not change with the learning rate', () => {
    const changed = training({ learningRate: 0.001 });
    for (const item of ['convert', 'prepare'] as const)
      expect(keyOf(changed, { ...input, item })).toBe(keyOf(spec, { ...input, item }));
  });

  test('changes with each input and with what a source holds', () => {
    const keys = [
      input,
      { ...input, inputs: { ...input.inputs, dataset: 'other' } },
      { ...input, item: 'fetch-data' as const, inputs: {}, fingerprint: 'a' },
      { ...input, item: 'fetch-data' as const, inputs: {}, fingerprint: 'b' },
    ].map((asked) => keyOf(spec, asked));
    expect(new Set(keys).size).toBe(keys.length);
  });
});

describe('a resume point', () => {
  let root: string;
  let store: FolderStore;
  let points: ReturnType<typeof createResumePoints>;
  const find = (): Promise<ResumePointLookup> => new MockActivityEnvironment().run(points.findResumePoint, input);

  beforeEach(async () => {
    root = await scratchFolder();
    store = new FolderStore(join(root, 'store'));
    await writeRunDocuments(store, 'run', spec, demoPlan());
    const timing = { heartbeatSeconds: 1, attachSeconds: 1 };
    points = createResumePoints({
      store,
      timing,
      cluster: 'c',
      namespace: 'default',
      client: undefined as unknown as Client,
    });
  });

  async function make(text: string) {
    const folder = join(root, 'made');
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, 'weights'), text);
    return { artifacts: { checkpoint: await publishArtifact(store, folder) }, facts: { iteration: 300 } };
  }

  test('is found with the run that made it', async () => {
    const { stageKey, nextNumber } = await find();
    expect(nextNumber).toBe(1);
    const result = await make('good');
    await points.recordResumePoint({ runId: 'run', stageKey, number: 1, result });
    expect(await find()).toMatchObject({ found: result, foundRunId: 'run' });
  });

  test('is rejected with the file and the fault when one byte was flipped, and superseded by the next number', async () => {
    const { stageKey } = await find();
    const result = await make('good');
    await points.recordResumePoint({ runId: 'run', stageKey, number: 1, result });
    await writeFile(join(root, 'store', result.artifacts.checkpoint.prefix, 'weights'), 'goad');
    const rejected = await find();
    expect(rejected.found).toBeUndefined();
    expect(rejected.rejected).toBe('The earlier checkpoint is damaged: weights is flipped. It is made again.');
    expect(rejected.nextNumber).toBe(2);
    await points.recordResumePoint({ runId: 'run', stageKey, number: 2, result: await make('good') });
    expect(await find()).toMatchObject({ found: result });
  });

  test('that two runs record at once is that of the first', async () => {
    const { stageKey } = await find();
    const first = await make('good');
    await points.recordResumePoint({ runId: 'run', stageKey, number: 1, result: first });
    await points.recordResumePoint({ runId: 'other', stageKey, number: 1, result: { ...first, facts: {} } });
    expect(await find()).toMatchObject({ foundRunId: 'run' });
  });
});

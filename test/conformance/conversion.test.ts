/**
 * The commands of a plan, run for real: what convert leaves is what the plan expects in every rank folder, and publish brings back every
 * bit. Our own converter stands for MindSpeed MM's, whose names it has; where publish runs ours also on Ascend, this is that very program.
 */
import { join } from 'node:path';
import { execa } from 'execa';
import { beforeAll, expect, test } from 'vitest';
import { checkConverted, checkPublished } from '../../src/activities/host/conversion-checks.js';
import type { HostDeps } from '../../src/activities/host/deps.js';
import { composePlan } from '../../src/backends/compose-plan.js';
import { fillArgument, type HoleValues, type Plan } from '../../src/plan/plan.js';
import { RunSpec, type RunSpecInput } from '../../src/spec/run.js';
import { TINY_VIRTUAL } from '../support/demo-plan.js';
import { scratchFolder } from '../support/scratch.js';
import { BASE_MODEL, python, RUNTIME_BIN, TRAINER_HOME } from '../support/small-run.js';

type Layout = RunSpecInput['layout'];
const PP2 = { hosts: 1, npusPerHost: 2 } as const;
const TP2 = { hosts: 1, npusPerHost: 4, tensorParallel: 2 } as const;
const LAYOUTS: Readonly<Record<string, Layout>> = {
  'all vision on the first of two stages': { ...PP2, visionLayersPerStage: [2, 0], languageLayersPerStage: [0, 2] },
  'split tensors on two stages': { ...TP2, visionLayersPerStage: [2, 0], languageLayersPerStage: [1, 1] },
  'virtual stages': { ...PP2, virtualPipeline: TINY_VIRTUAL },
  'virtual stages with split tensors': { ...TP2, virtualPipeline: TINY_VIRTUAL },
  'Dist-train with vision tensors split': {
    hosts: 1,
    npusPerHost: 4,
    distTrain: { vision: { npus: 2, tensorParallel: 2 }, language: { npus: 2, layersPerStage: [1, 1] } },
  },
};

/** The real runtime's plan for the tiny model. */
function planOf(layout: Layout, initFrom?: string): Plan {
  const composed = composePlan(
    RunSpec.parse({
      version: 1,
      name: 'conversion',
      model: {
        family: 'internvl3',
        preset: 'internvl3-tiny',
        source: { uri: 'file:///model' },
        trustRemoteCode: true,
      },
      data: { source: { uri: 'file:///data' }, maximumTiles: 1 },
      runtime: { kind: 'ascend', mindspeedRelease: '2.2.0' },
      layout,
      training: {
        ...{ iterations: 10, globalBatchSize: 8, microBatchSize: 1, sequenceLength: 48, learningRate: 0.001 },
        ...(initFrom !== undefined && { initFrom: { uri: initFrom } }),
      },
      checkpoint: { everyIterations: 5 },
      publish: { model: 'conversion' },
    } satisfies RunSpecInput),
  );
  if (!('plan' in composed)) throw new Error(JSON.stringify(composed.refusals));
  return composed.plan;
}

async function run(plan: Plan, stage: 'convert' | 'publish', values: HoleValues): Promise<void> {
  for (const { program, args, env } of plan.stages[stage].commands)
    await execa(
      join(RUNTIME_BIN, program),
      args.map((argument) => fillArgument(argument, values)),
      {
        env: Object.fromEntries(Object.entries(env).map(([name, value]) => [name, fillArgument(value, values)])),
        timeout: 120_000,
      },
    );
}

const digestOf = async (folder: string): Promise<unknown> =>
  JSON.parse(await python('-m', 'anneal_trainer.tensors', 'digest', folder));
const deps = { runtimeBin: RUNTIME_BIN, toolsHome: TRAINER_HOME, environment: {} } as unknown as HostDeps;

let before: unknown;
beforeAll(async () => {
  before = await digestOf(BASE_MODEL);
});

test.each(Object.entries(LAYOUTS))('%s: every tensor where the plan says, and back bit for bit', async (_, layout) => {
  const plan = planOf(layout);
  const work = await scratchFolder();
  const values = { work, baseModel: BASE_MODEL, toolsHome: TRAINER_HOME, trained: join(work, 'converted') };
  await run(plan, 'convert', values);
  expect(await checkConverted(deps, plan, values)).toMatchObject({ tensors: expect.any(Number) as number });
  const back = { ...values, work: await scratchFolder() };
  await run(plan, 'publish', back);
  await checkPublished(BASE_MODEL, join(back.work, 'published'));
  expect(await digestOf(join(back.work, 'published'))).toEqual(before);
});

test('a save folder of virtual stages becomes the start of a Dist-train run', async () => {
  const from = await scratchFolder();
  const values = { baseModel: BASE_MODEL, toolsHome: TRAINER_HOME };
  await run(planOf(LAYOUTS['virtual stages'] as Layout), 'convert', { ...values, work: from });
  const plan = planOf(LAYOUTS['Dist-train with vision tensors split'] as Layout, 'file:///start');
  const work = await scratchFolder();
  await run(plan, 'convert', { ...values, work, start: join(from, 'converted') });
  await checkConverted(deps, plan, { ...values, work });
});

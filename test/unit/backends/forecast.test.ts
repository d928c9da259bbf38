/** What `anneal plan` foretells of a run on Ascend, against the published numbers and the formulas of their authors. */
import { describe, expect, test } from 'vitest';
import { composePlan } from '../../../src/backends/compose-plan.js';
import { forecast, type Forecast } from '../../../src/backends/forecast/forecast.js';
import type { Given } from '../../../src/backends/forecast/given.js';
import { jobOf } from '../../../src/backends/job-of.js';
import { lostShare, saveInterval } from '../../../src/plan/save-interval.js';
import type { RunSpecInput } from '../../../src/spec/run.js';
import { publishedInput, publishedQwenInput, QWEN_LAYOUTS, specOf } from './specs.js';

function of(input: RunSpecInput, given: Given = {}): Forecast {
  const spec = specOf(input);
  expect(composePlan(spec)).toHaveProperty('plan');
  return forecast(jobOf(spec), given);
}
const with8b = (change: Partial<RunSpecInput>): RunSpecInput => ({ ...publishedInput, ...change });
const unfrozen = with8b({ model: { ...publishedInput.model, freeze: [] } });
const large: RunSpecInput = with8b({
  model: { ...publishedInput.model, preset: 'internvl3-78b' },
  layout: {
    hosts: 4,
    npusPerHost: 8,
    tensorParallel: 8,
    visionLayersPerStage: [45, 0],
    languageLayersPerStage: [40, 40],
  },
});

describe('the rank table', () => {
  test('of the published 8B layout names host, device, modules, groups and neighbours', () => {
    const { ranks } = of(publishedInput);
    expect(ranks).toHaveLength(8);
    expect(ranks[0]).toEqual({
      rank: 0,
      node: 0,
      device: 0,
      tensorRank: 0,
      contextRank: 0,
      dataRank: 0,
      pipelineStage: 0,
      modules: [
        { module: 'vision', layers: [[0, 24]] },
        { module: 'projector' },
        { module: 'language', layers: [[0, 6]] },
      ],
      tensorGroup: [0],
      contextGroup: [0],
      dataGroup: [0, 1],
      previousStage: null,
      nextStage: 2,
      otherTower: [],
    });
    expect(ranks[5]).toMatchObject({
      modules: [{ module: 'language', layers: [[14, 22]] }],
      dataGroup: [4, 5],
      previousStage: 3,
      nextStage: 7,
    });
  });

  test('counts the groups of a Dist-train tower inside the tower, on any host', () => {
    const { ranks } = of(
      with8b({
        layout: {
          hosts: 2,
          npusPerHost: 4,
          distTrain: {
            vision: { npus: 2 },
            language: { npus: 6, tensorParallel: 1, layersPerStage: [10, 9, 9] },
          },
        },
      }),
    );
    expect(ranks[1]).toMatchObject({ dataGroup: [0, 1], modules: [{ module: 'vision' }, { module: 'projector' }] });
    expect(ranks[5]).toMatchObject({
      node: 1,
      device: 1,
      dataGroup: [4, 5],
      previousStage: 3,
      nextStage: 7,
      modules: [{ module: 'language', layers: [[10, 19]] }],
    });
  });

  test("of Dist-train names who feeds whom: the tensor ranks of a vision replica its language replica's first stage", () => {
    const { ranks } = of(
      with8b({
        layout: {
          hosts: 1,
          npusPerHost: 8,
          distTrain: { vision: { npus: 4, tensorParallel: 2 }, language: { npus: 4, layersPerStage: [14, 14] } },
        },
      }),
    );
    expect(ranks.map(({ otherTower }) => otherTower)).toEqual([[4], [4], [5], [5], [0, 1], [2, 3], [], []]);
  });
});

describe('disk and host memory', () => {
  test('an 8B checkpoint is about 111 GB, 16 of weights and 95 of optimizer; two are kept while a third is shipped', () => {
    const { checkpoint } = of(unfrozen);
    expect(checkpoint.weightsBytes / 1e9).toBeCloseTo(16, 0);
    expect(checkpoint.optimizerBytes / 1e9).toBeCloseTo(95, 0);
    expect(checkpoint.bytes / 1e9).toBeCloseTo(111, 0);
    expect(checkpoint.storeBytes).toBe(3 * checkpoint.bytes);
  });

  test('of adapters a checkpoint is their weights and optimizer alone, and no rank has gradients of anything else', () => {
    const lora = { rank: 8, alpha: 16 };
    const adapted = of(with8b({ model: { ...publishedInput.model, lora } }));
    // 28 layers of 3584 -> 4608 (QKV), 3584 -> 3584, 3584 -> 37888 (gate and up), 18944 -> 3584, and 4096 -> 3584 -> 3584 between the towers.
    const layers = 28 * (3584 + 4608 + 3584 + 3584 + 3584 + 37_888 + 18_944 + 3584);
    const parameters = 8 * (layers + 4096 + 3584 + 3584 + 3584);
    expect(adapted.checkpoint.weightsBytes).toBe(2 * parameters);
    expect(adapted.checkpoint.optimizerBytes).toBe(12 * parameters);
    const gradients = adapted.memory.map((rank) => rank.gradients).reduce((sum, bytes) => sum + bytes, 0);
    // Two replicas.
    expect(gradients).toBe(2 * 4 * parameters);
    const whole = of(publishedInput);
    for (const [rank, { weights, peak }] of adapted.memory.entries()) {
      expect(weights).toBeGreaterThan(whole.memory[rank]?.weights ?? Infinity);
      expect(peak).toBeLessThan((whole.memory[rank]?.peak ?? 0) * 0.8);
    }
  });

  test('adapters that are split over tensor ranks have their other half on each', () => {
    const split = (tensorParallel: number) =>
      of(
        with8b({
          model: {
            ...publishedInput.model,
            freeze: ['vision'],
            lora: { rank: 8, alpha: 16, targets: ['linear_proj'] },
          },
          layout: { hosts: 1, npusPerHost: 8, tensorParallel },
        }),
      ).memory[0]?.gradients;
    expect(split(1)).toBe(4 * 8 * 28 * (3584 + 3584));
    expect(split(2)).toBe(4 * 8 * 28 * (3584 / 2 + 3584));
  });

  test.each([
    ['one host writes all of it', { hosts: 1, npusPerHost: 8 }, 1],
    ['two hosts with replicas of one stage: the first writes all', { hosts: 2, npusPerHost: 8 }, 1],
    [
      'four stages on two hosts: a half each, and a little',
      { hosts: 2, npusPerHost: 2, visionLayersPerStage: [24, 0, 0, 0], languageLayersPerStage: [7, 7, 7, 7] },
      0.5,
    ],
  ])('five saves of the fullest host: %s', (_, layout, share) => {
    const { checkpoint } = of(with8b({ layout }));
    expect(checkpoint.hostBytes / (5 * checkpoint.bytes)).toBeCloseTo(share, 1);
  });

  test('a frozen tower has weights, and no optimizer', () => {
    expect(of(publishedInput).checkpoint.weightsBytes).toBe(of(unfrozen).checkpoint.weightsBytes);
    expect(of(publishedInput).checkpoint.optimizerBytes).toBeLessThan(of(unfrozen).checkpoint.optimizerBytes);
  });

  test.each([
    ['8B at tensor size 1', publishedInput, 32],
    ['8B at tensor size 4', with8b({ layout: { hosts: 1, npusPerHost: 8, tensorParallel: 4 } }), 48],
    ['78B at tensor size 8', large, 470],
  ])('%s converts in the memory that was measured, within 2 %%', (_, input, gigabytes) => {
    expect(Math.abs(of(input).conversion.hostMemoryBytes / 1e9 / gigabytes - 1)).toBeLessThan(0.02);
  });
});

describe('Qwen2.5-VL', () => {
  const sizes = Object.keys(QWEN_LAYOUTS) as (keyof typeof QWEN_LAYOUTS)[];

  test.each(sizes)('the published layout of %s fits the NPUs that it is published for', (preset) => {
    const { warnings, memory } = of({
      ...publishedQwenInput,
      model: { ...publishedQwenInput.model, preset },
      layout: QWEN_LAYOUTS[preset],
      // As many steps of accumulation as published: 32, 48, 96 and 96.
      training: {
        ...publishedQwenInput.training,
        globalBatchSize: { 'qwen2.5-vl-3b': 256, 'qwen2.5-vl-7b': 192, 'qwen2.5-vl-32b': 96, 'qwen2.5-vl-72b': 384 }[
          preset
        ],
      },
    });
    expect(warnings).toEqual([]);
    for (const { visionActivations, weights } of memory) expect(visionActivations).toBeLessThan(weights);
  });

  test('what is frozen has no gradients: vision, merger or neither', () => {
    const trained = (freeze: RunSpecInput['model']['freeze']): number =>
      of({ ...publishedQwenInput, model: { ...publishedQwenInput.model, freeze } }).memory[0]?.gradients ?? 0;
    const vision = 1_505_280 + 32 * 19_702_200;
    // A norm and two layers of 5,120 and 3,584.
    const merger = 1280 + 5121 * 5120 + 5121 * 3584;
    expect(trained([]) - trained(['vision'])).toBe(4 * vision);
    expect(trained(['vision']) - trained(['vision', 'projector'])).toBe(4 * merger);
  });

  test('tensor ranks share the merger and the vision tower, but for norms, patches and output biases', () => {
    const weights = (tensorParallel: number): number =>
      of({
        ...publishedQwenInput,
        model: { ...publishedQwenInput.model, freeze: [] },
        layout: { hosts: 1, npusPerHost: 4, tensorParallel },
      }).memory[0]?.weights ?? 0;
    // Of the language tower only its 57 norms are whole.
    const whole = 57 * 3584 + 32 * 4 * 1280 + 1_505_280 + 1280 + 3584;
    expect(weights(2) - 2 * whole).toBe((weights(1) - 2 * whole) / 2);
    expect(weights(4) - 2 * whole).toBe((weights(1) - 2 * whole) / 4);
  });
});

describe('images and epochs', () => {
  test('twelve tiles and the thumbnail are 3,328 tokens of 4,096', () => {
    expect(of(publishedInput).images).toEqual({ tokensPerTile: 256, mostTiles: 13, mostTokens: 3328 });
  });

  test('an image of Qwen2.5-VL is one tile of as many tokens as the narrowest strip of 262,144 pixels becomes', () => {
    expect(of(publishedQwenInput).images).toEqual({ tokensPerTile: 446, mostTiles: 1, mostTokens: 446 });
  });

  test('nothing is said of epochs until somebody gives the rows', () => {
    expect(of(publishedInput)).not.toHaveProperty('epoch');
  });

  test('12,413 rows with a fifth held out are 77.6 iterations of 128 rows', () => {
    expect(of(publishedInput, { rows: 12_413 }).epoch).toEqual({
      rows: { value: 12_413, source: 'given' },
      trainedRows: 9930,
      iterations: 9930 / 128,
      epochs: (5000 * 128) / 9930,
    });
  });

  test('data.maximumRows bounds what is given, and stands for it', () => {
    const bounded = with8b({ data: { ...publishedInput.data, maximumRows: 1000 } });
    expect(of(bounded).epoch).toMatchObject({ rows: { source: 'data.maximumRows' }, trainedRows: 800 });
    expect(of(bounded, { rows: 5000 }).epoch).toMatchObject({ trainedRows: 800 });
  });
});

describe('the save interval', () => {
  test('of 8 hosts that fail every 26.4 days and save in a minute is 98 minutes, and loses 2.2 %', () => {
    const question = {
      saveSeconds: 60,
      iterationSeconds: 18.1,
      hostMtbfSeconds: 26.4 * 86_400,
      hosts: 8,
      restartSeconds: 600,
    };
    const best = saveInterval(question);
    expect(best.mtbfSeconds / 86_400).toBeCloseTo(3.3, 5);
    expect(best.youngSeconds / 60).toBeCloseTo(97.5, 1);
    expect(best.dalySeconds).toBeCloseTo(5795.46, 2);
    expect(lostShare(question, best.youngSeconds)).toBeCloseTo(0.0226, 3);
    expect(best.iterations).toBe(Math.round(best.dalySeconds / 18.1));
  });

  test('saving much more often, or much more seldom, loses more', () => {
    const question = { saveSeconds: 60, iterationSeconds: 1, hostMtbfSeconds: 1e6, hosts: 4, restartSeconds: 300 };
    const best = lostShare(question, saveInterval(question).youngSeconds);
    for (const factor of [0.25, 0.5, 2, 4])
      expect(lostShare(question, saveInterval(question).youngSeconds * factor)).toBeGreaterThan(best);
  });

  test('is not named while the time of a save is unknown, and names what is missing', () => {
    const { saving } = of(publishedInput);
    expect(saving).not.toHaveProperty('best');
    expect(saving.missing).toEqual(['saveSeconds']);
    expect(of(large).saving.missing).toEqual(['iterationSeconds', 'saveSeconds']);
  });

  test('takes the published throughput of 8B for the time of an iteration, and says so', () => {
    const { saving } = of(publishedInput, { saveSeconds: 60 });
    expect(saving.inputs.iterationSeconds?.value).toBeCloseTo(18.1, 1);
    expect(saving.inputs.iterationSeconds?.source).toMatch(/^published/);
    expect(saving.inputs.hostMtbfDays?.source).toMatch(/^assumed/);
    expect(saving.best?.lostShare).toBeLessThanOrEqual(saving.best?.lostShareAsPlanned ?? 0);
    expect(of(publishedQwenInput).saving.inputs.iterationSeconds?.value).toBeCloseTo(192 / 18.82, 3);
  });
});

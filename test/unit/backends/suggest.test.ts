/** The layouts that `anneal plan --suggest` ranks: all possible, in the order that is promised, with the published one where it belongs. */
import { describe, expect, test } from 'vitest';
import { composePlan } from '../../../src/backends/compose-plan.js';
import { suggestLayouts, type Suggestion } from '../../../src/backends/forecast/suggest.js';
import { jobOf } from '../../../src/backends/job-of.js';
import type { RunSpecInput } from '../../../src/spec/run.js';
import { publishedInput, publishedQwenInput, specOf } from './specs.js';

const suggest = (input: RunSpecInput, hosts: number, given = {}) => suggestLayouts(jobOf(specOf(input)), hosts, given);
const large: RunSpecInput = { ...publishedInput, model: { ...publishedInput.model, preset: 'internvl3-78b' } };
large.layout = {
  ...publishedInput.layout,
  visionLayersPerStage: [45, 0, 0, 0],
  languageLayersPerStage: [20, 20, 20, 20],
};

describe('InternVL3-8B on one host of 8', () => {
  const { ranked } = suggest(publishedInput, 1);

  test('the layout that MindSpeed MM publishes comes first: TP 1, four stages of 6, 8, 8 and 6 layers', () => {
    expect(ranked[0]?.layout).toMatchObject({
      tensorParallel: 1,
      visionLayersPerStage: [24, 0, 0, 0],
      languageLayersPerStage: [6, 8, 8, 6],
    });
  });

  test('each says what is left of the memory and what is waited for', () => {
    for (const { why, fits } of ranked) {
      expect(fits).toBe(true);
      expect(why).toMatch(/GiB are left on the fullest NPU; .*wait for the fullest for [\d.]+ %/);
    }
    expect(new Set(ranked.map(({ layout }) => JSON.stringify(layout))).size).toBe(ranked.length);
  });
});

describe.each([
  ['8B', publishedInput, 1],
  ['8B', publishedInput, 3],
  ['78B', large, 4],
  ['78B', large, 64],
  ['8B with adapters', { ...publishedInput, model: { ...publishedInput.model, lora: { rank: 8, alpha: 16 } } }, 3],
  ['Qwen2.5-VL-7B', publishedQwenInput, 1],
  ['Qwen2.5-VL-7B', publishedQwenInput, 3],
] as const)('%s on hosts: %#', (_, input, hosts) => {
  const { ranked } = suggest(input, hosts);

  test('every layout makes a plan on all NPUs of the hosts', () => {
    expect(ranked.length).toBeGreaterThan(0);
    for (const { layout } of ranked) {
      expect(layout).toMatchObject({ hosts, npusPerHost: 8 });
      expect(composePlan(specOf({ ...input, layout }))).toHaveProperty('plan');
    }
  });

  test('what comes within ten points of the best is ordered by tensor ranks, Dist-train last, then by memory', () => {
    const best = Math.max(...ranked.map(({ work }) => work));
    const first = ranked.filter(({ work }) => best - work < 0.1);
    expect(ranked.slice(0, first.length)).toEqual(first);
    const key = ({ layout, peakBytes }: Suggestion): readonly number[] => [
      layout.distTrain?.language.tensorParallel ?? layout.tensorParallel,
      layout.distTrain === undefined ? 0 : 1,
      peakBytes,
    ];
    const keys = first.map(key);
    expect(keys).toEqual(
      keys.toSorted((a, b) => (a[0] ?? 0) - (b[0] ?? 0) || (a[1] ?? 0) - (b[1] ?? 0) || (a[2] ?? 0) - (b[2] ?? 0)),
    );
  });
});

test('work is the part of the time that is not lost to the ends of the pipeline or to the fullest stage', () => {
  // One stage and whole replicas: nobody waits.
  const whole = suggest(publishedInput, 1).ranked.find(({ layout }) => layout.languageLayersPerStage?.length === 1);
  expect(whole?.work).toBeCloseTo(1, 10);
  // Eight micro-batches through eight stages: 7 of 15 steps are lost, whatever the stages hold.
  const few = suggest({ ...publishedInput, training: { ...publishedInput.training, globalBatchSize: 8 } }, 1).ranked;
  const eight = few.find(({ layout }) => layout.languageLayersPerStage?.length === 8);
  expect(eight?.why).toContain('not full for 46.7 % of the time');
  expect(eight?.work).toBeLessThan(1 - 7 / 15);
});

test('where nothing fits, the smallest comes first and says by how much it is too large', () => {
  const { ranked, tooLarge } = suggest(large, 1);
  expect(tooLarge).toBeGreaterThan(0);
  expect(ranked[0]).toMatchObject({ fits: false });
  expect(ranked[0]?.why).toMatch(/^\d+ GiB too large/);
  expect(ranked.map(({ peakBytes }) => peakBytes)).toEqual(
    ranked.map(({ peakBytes }) => peakBytes).toSorted((a, b) => a - b),
  );
});

test('NPUs with more memory are given', () => {
  expect(suggest(large, 1, { npuMemoryGib: 1000 }).ranked[0]).toMatchObject({ fits: true });
});

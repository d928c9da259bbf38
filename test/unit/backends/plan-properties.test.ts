/** Whatever a user writes: a plan that is not refused keeps every rule of the trainer, said once more here from its documents. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { composePlan } from '../../../src/backends/compose-plan.js';
import { forecast } from '../../../src/backends/forecast/forecast.js';
import { jobOf } from '../../../src/backends/job-of.js';
import type { Plan } from '../../../src/plan/plan.js';
import { RunSpec, type RunSpecInput } from '../../../src/spec/run.js';
import { publishedInput } from './specs.js';

/** Lists that add up to a number, so that more than a few samples pass. */
const shares = (layers: number, stages: number): fc.Arbitrary<number[]> =>
  fc.array(fc.nat(layers), { minLength: stages - 1, maxLength: stages - 1 }).map((cuts) => {
    const points = [0, ...cuts.toSorted((a, b) => a - b), layers];
    return points.slice(1).map((point, index) => point - (points[index] ?? 0));
  });
const SIZES = { 'internvl3-8b': [24, 28], 'internvl3-78b': [45, 80] } as const;
type Preset = keyof typeof SIZES;

const anySize = fc.constantFrom<Preset>('internvl3-8b', 'internvl3-78b');
const small = fc.constantFrom(1, 1, 1, 2, 4, 8);
const visionFirst = (layers: number, stages: number): number[] => [
  layers,
  ...Array.from({ length: stages - 1 }, () => 0),
];

const together = (preset: Preset): fc.Arbitrary<RunSpecInput['layout']> => {
  const [vision, language] = SIZES[preset];
  return fc.integer({ min: 1, max: 6 }).chain((stages) =>
    fc.record({
      hosts: fc.integer({ min: 1, max: 4 }),
      npusPerHost: fc.constantFrom(1, 2, 4, 8),
      tensorParallel: small,
      contextParallel: fc.constantFrom(1, 1, 2),
      visionLayersPerStage: fc.oneof(fc.constant(visionFirst(vision, stages)), shares(vision, stages)),
      // Now and then a layer too many, which must be refused.
      languageLayersPerStage: fc.constantFrom(0, 0, 0, 1).chain((off) => shares(language + off, stages)),
    }),
  );
};
const apart = (preset: Preset): fc.Arbitrary<RunSpecInput['layout']> =>
  fc
    .record({
      stages: fc.integer({ min: 1, max: 4 }),
      visionStages: fc.integer({ min: 1, max: 2 }),
      replicas: fc.integer({ min: 1, max: 3 }),
      each: fc.integer({ min: 1, max: 2 }),
      tensors: fc.constantFrom(1, 1, 1, 2),
      npusPerHost: fc.constantFrom(1, 2, 4, 8),
      off: fc.constantFrom(0, 0, 0, 1),
    })
    .chain(({ stages, visionStages, replicas, each, tensors, npusPerHost, off }) => {
      const vision = visionStages * replicas * each + off;
      const language = stages * replicas * tensors;
      return fc.record({
        hosts: fc.constant(Math.ceil((vision + language) / npusPerHost)),
        npusPerHost: fc.constant(npusPerHost),
        distTrain: fc.record({
          vision: fc.record({ npus: fc.constant(vision), layersPerStage: shares(SIZES[preset][0], visionStages) }),
          language: fc.record({
            npus: fc.constant(language),
            tensorParallel: fc.constant(tensors),
            layersPerStage: shares(SIZES[preset][1], stages),
          }),
        }),
      });
    });

const anyInput: fc.Arbitrary<RunSpecInput> = anySize.chain((preset) =>
  fc
    .record({
      layout: fc.oneof(together(preset), apart(preset)),
      freeze: fc.subarray(['vision', 'projector', 'language'] as const, { maxLength: 2 }),
      globalBatchSize: fc.constantFrom(8, 16, 32, 48, 96, 100),
      microBatchSize: fc.constantFrom(1, 1, 2),
    })
    .map(({ layout, freeze, globalBatchSize, microBatchSize }) => ({
      ...publishedInput,
      layout,
      model: { ...publishedInput.model, preset, freeze },
      training: { ...publishedInput.training, globalBatchSize, microBatchSize },
    })),
);

const total = (numbers: readonly number[]): number => numbers.reduce((sum, number) => sum + number, 0);

/** What the trainer reads of the layout: its command line and model.json, not our own types. */
function readBack(plan: Plan) {
  const args = plan.stages.train.commands[0]?.args ?? [];
  const flag = (name: string): number => Number(args[args.indexOf(name) + 1]);
  const model = plan.stages.train.files.find(({ path }) => path === 'model.json')?.content as unknown as ModelJson;
  return { flag, args, model };
}
interface ModelJson {
  readonly dist_config?: { readonly model_config: readonly SubModel[] };
  readonly text_decoder: {
    readonly num_layers: number;
    readonly pipeline_num_layers: readonly number[];
    readonly num_key_value_heads: number;
  };
  readonly image_encoder: {
    readonly vision_encoder: {
      readonly num_layers: number;
      readonly pipeline_num_layers: readonly number[];
      readonly freeze: boolean;
    };
    readonly vision_projector: { readonly freeze?: boolean };
  };
}
interface SubModel {
  readonly name: string;
  readonly model_index: number;
  readonly world_size: number;
  readonly tensor_model_parallel_size: number;
  readonly pipeline_model_parallel_size: number;
  readonly context_parallel_size: number;
  readonly main_dp?: boolean;
}
interface Tower {
  readonly name: 'vision' | 'language';
  readonly folder: string;
  readonly first: number;
  readonly ranks: number;
  readonly tensors: number;
  readonly contexts: number;
  readonly stages: readonly number[];
}

/** Towers as Megatron and Dist-train place them: in the order of the list, each on ranks in a row. */
function towersOf(plan: Plan): readonly Tower[] {
  const { flag, model } = readBack(plan);
  const stages = {
    vision: model.image_encoder.vision_encoder.pipeline_num_layers,
    language: model.text_decoder.pipeline_num_layers,
  };
  if (model.dist_config === undefined) {
    const shared = {
      folder: 'mp_rank',
      first: 0,
      ranks: plan.gang.worldSize,
      tensors: flag('--tensor-model-parallel-size'),
      contexts: flag('--context-parallel-size'),
    };
    return [
      { name: 'vision', ...shared, stages: stages.vision },
      { name: 'language', ...shared, stages: stages.language },
    ];
  }
  let first = 0;
  return model.dist_config.model_config.map((sub, index) => {
    expect(sub.name).toBe(['vit', 'gpt'][index]);
    expect(sub.model_index).toBe(index);
    const name = sub.name === 'vit' ? 'vision' : 'language';
    expect(sub.pipeline_model_parallel_size).toBe(stages[name].length);
    const tower: Tower = {
      name,
      folder: `mp_${sub.name}_rank`,
      first,
      ranks: sub.world_size,
      tensors: sub.tensor_model_parallel_size,
      contexts: sub.context_parallel_size,
      stages: stages[name],
    };
    first += sub.world_size;
    return tower;
  });
}
const replicasOf = ({ ranks, tensors, contexts, stages }: Tower): number =>
  ranks / (tensors * contexts * stages.length);

function keepsTheRules(plan: Plan, freeze: readonly string[]): void {
  const { flag, args, model } = readBack(plan);
  const towers = towersOf(plan);
  const [vision, language] = towers;
  if (vision === undefined || language === undefined) throw new Error('a tower is missing');
  const world = flag('--nproc_per_node') * flag('--nnodes');
  expect(world).toBe(plan.gang.worldSize);

  // Sums and lengths.
  expect(total(vision.stages)).toBe(model.image_encoder.vision_encoder.num_layers);
  expect(total(language.stages)).toBe(model.text_decoder.num_layers);
  if (model.dist_config === undefined) {
    expect(vision.stages).toHaveLength(flag('--pipeline-model-parallel-size'));
    expect(language.stages).toHaveLength(flag('--pipeline-model-parallel-size'));
    // No language layer before the last vision layer has been.
    const seen = vision.stages.map((layers, stage) => (layers > 0 ? stage : -1));
    const read = language.stages.map((layers, stage) => (layers > 0 ? stage : Infinity));
    expect(Math.max(...seen)).toBeLessThanOrEqual(Math.min(...read));
  } else {
    expect(total(towers.map(({ ranks }) => ranks))).toBe(world);
    expect(args).toContain('--dist-train');
    // The loss of pretrain_internvl.py is taken over logits that are whole.
    expect(language.tensors).toBe(1);
    // Equal replicas, or language as the main one and vision a multiple of it.
    const main = model.dist_config.model_config.filter(({ main_dp }) => main_dp === true).map(({ name }) => name);
    expect(main).toEqual(replicasOf(vision) === replicasOf(language) ? [] : ['gpt']);
    expect(replicasOf(vision) % replicasOf(language)).toBe(0);
  }

  // Divisibility.
  expect(model.text_decoder.num_key_value_heads % language.tensors).toBe(0);
  for (const tower of towers) {
    expect(Number.isInteger(replicasOf(tower))).toBe(true);
    expect(replicasOf(tower)).toBeGreaterThan(0);
    expect(flag('--global-batch-size') % (flag('--micro-batch-size') * replicasOf(tower))).toBe(0);
  }

  // Something to train on every stage.
  expect(freeze).not.toContain('language');
  const projectorAt = vision.stages.findLastIndex((layers) => layers > 0);
  const trains = (tower: Tower, stage: number): boolean =>
    tower.name === 'language'
      ? (tower.stages[stage] ?? 0) > 0
      : (!freeze.includes('vision') && (tower.stages[stage] ?? 0) > 0) ||
        (!freeze.includes('projector') && stage === projectorAt);
  const together = model.dist_config === undefined;
  for (const tower of towers)
    tower.stages.forEach((_, stage) => {
      const here = together ? towers.some((one) => trains(one, stage)) : trains(tower, stage);
      expect(here, `${tower.name} stage ${String(stage)}`).toBe(true);
    });

  // The converter gets the lists of model.json, always of the whole model.
  const lists = plan.stages.convert.commands.flatMap(({ args: all }) =>
    all.filter((one): one is string => typeof one === 'string' && one.startsWith('[')),
  );
  expect(lists.length).toBeGreaterThan(1);
  for (const list of lists)
    expect([total(vision.stages), total(language.stages)]).toContain(total((JSON.parse(list) as number[]).flat()));
  if (together) expect(lists).toEqual([[language.stages], [vision.stages]].map((list) => JSON.stringify(list)));
}

function placesEveryRankAndLayerOnce(plan: Plan): void {
  const { ranks } = plan.gang;
  expect(ranks.map(({ rank }) => rank)).toEqual(Array.from({ length: plan.gang.worldSize }, (_, rank) => rank));
  const slots = ranks.map(({ nodeRank, localRank }) => `${String(nodeRank)}.${String(localRank)}`);
  expect(new Set(slots).size).toBe(ranks.length);
  for (const tower of towersOf(plan)) {
    const holders = new Map<string, Set<number>>();
    for (const { rank, [tower.name]: held } of ranks) {
      if (held === undefined) continue;
      expect(rank).toBeGreaterThanOrEqual(tower.first);
      expect(rank).toBeLessThan(tower.first + tower.ranks);
      for (const [chunk, [first, end]] of held.layers.entries())
        for (let layer = first; layer < end; layer += 1) {
          const replica = `${String(layer)} of t${String(held.tensorRank)} c${String(held.contextRank)} d${String(held.dataRank)}`;
          const stages = holders.get(replica) ?? new Set<number>();
          stages.add(held.pipelineStage + chunk * 1000);
          holders.set(replica, stages);
        }
    }
    // Every layer, in every replica and every tensor and context part of it, on exactly one stage.
    expect(holders.size).toBe(total(tower.stages) * tower.tensors * tower.contexts * replicasOf(tower));
    for (const stages of holders.values()) expect(stages.size).toBe(1);
  }
}

/** Megatron's torch format: a folder per tensor and pipeline rank, written by its data rank 0. */
function savesWhatTheTrainerWrites(plan: Plan): void {
  const together = readBack(plan).model.dist_config === undefined;
  const expected = (together ? towersOf(plan).slice(1) : towersOf(plan)).flatMap((tower) =>
    Array.from({ length: tower.tensors * tower.stages.length }, (_, index) => {
      const tensor = index % tower.tensors;
      const stage = Math.floor(index / tower.tensors);
      const name =
        `${tower.folder}_${String(tensor).padStart(2, '0')}` +
        (tower.stages.length > 1 ? `_${String(stage).padStart(3, '0')}` : '');
      const writer = tower.first + tensor + tower.tensors * tower.contexts * replicasOf(tower) * stage;
      return { name, node: Math.floor(writer / plan.gang.npusPerHost) };
    }),
  );
  const saved = expected.flatMap(({ name, node }) => [
    `${name}/model_optim_rng.pt by ${String(node)}`,
    `${name}/distrib_optim.pt by ${String(node)}`,
  ]);
  const planned = plan.gang.checkpointFiles.map(({ path, writtenBy }) => `${path} by ${String(writtenBy)}`);
  expect(planned.toSorted()).toEqual(saved.toSorted());
  expect(plan.gang.releaseFiles.map(({ path }) => path).toSorted()).toEqual(
    expected.map(({ name }) => `${name}/model_optim_rng.pt`).toSorted(),
  );
}

test('a plan that is not refused keeps every rule, places each rank and layer once, and saves what the trainer writes', () => {
  let passed = 0;
  let apartPassed = 0;
  fc.assert(
    fc.property(anyInput, (input) => {
      const spec = RunSpec.safeParse(input);
      if (!spec.success) return;
      const composed = composePlan(spec.data);
      if (!('plan' in composed)) {
        expect(composed.refusals.length).toBeGreaterThan(0);
        return;
      }
      passed += 1;
      if (spec.data.layout.distTrain !== undefined) apartPassed += 1;
      keepsTheRules(composed.plan, spec.data.model.freeze);
      placesEveryRankAndLayerOnce(composed.plan);
      savesWhatTheTrainerWrites(composed.plan);
      groupsAgree(spec.data);
    }),
    { numRuns: 1000, seed: 7 },
  );
  // Else the property would hold of nothing.
  expect(passed).toBeGreaterThan(60);
  expect(apartPassed).toBeGreaterThan(20);
});

/** The rank table: groups are those of all their members, neighbours are each other's, and memory is counted for every rank. */
function groupsAgree(spec: RunSpec): void {
  const { ranks, memory } = forecast(jobOf(spec), {});
  const row = (rank: number) => ranks[rank] ?? expect.fail(`no rank ${String(rank)}`);
  expect(memory.map(({ rank }) => rank)).toEqual(ranks.map(({ rank }) => rank));
  for (const one of ranks) {
    for (const group of ['tensorGroup', 'contextGroup', 'dataGroup'] as const) {
      expect(one[group]).toContain(one.rank);
      for (const other of one[group]) expect(row(other)[group]).toEqual(one[group]);
    }
    if (one.nextStage !== null) expect(row(one.nextStage).previousStage).toBe(one.rank);
    if (one.previousStage !== null) expect(row(one.previousStage).nextStage).toBe(one.rank);
    const { weights, gradients, optimizer, peak } = memory[one.rank] ?? expect.fail('no memory');
    for (const bytes of [weights, gradients, optimizer]) expect(bytes).toBeGreaterThan(0);
    expect(peak).toBeGreaterThanOrEqual(weights + gradients + optimizer);
  }
}

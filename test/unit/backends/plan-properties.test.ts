/** Whatever a user writes: a plan that is not refused keeps every rule of the trainer, said once more here from its documents. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { composePlan } from '../../../src/backends/compose-plan.js';
import { forecast } from '../../../src/backends/forecast/forecast.js';
import { jobOf } from '../../../src/backends/job-of.js';
import type { Plan } from '../../../src/plan/plan.js';
import { LORA_TARGETS } from '../../../src/spec/model.js';
import { RunSpec, type RunSpecInput } from '../../../src/spec/run.js';
import { familyOf, publishedInput } from './specs.js';

/** Lists that add up to a number, so that more than a few samples pass. */
const shares = (layers: number, stages: number): fc.Arbitrary<number[]> =>
  fc.array(fc.nat(layers), { minLength: stages - 1, maxLength: stages - 1 }).map((cuts) => {
    const points = [0, ...cuts.toSorted((a, b) => a - b), layers];
    return points.slice(1).map((point, index) => point - (points[index] ?? 0));
  });
const SIZES = {
  'internvl3-8b': [24, 28],
  'internvl3-78b': [45, 80],
  'internvl2.5-4b': [24, 36],
  'qwen2.5-vl-3b': [32, 36],
  'qwen2.5-vl-7b': [32, 28],
  'qwen2.5-vl-72b': [32, 80],
} as const;
type Preset = keyof typeof SIZES;

const anySize = fc.constantFrom(...(Object.keys(SIZES) as Preset[]));
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
      sequenceParallel: fc.constantFrom(false, false, true),
      visionLayersPerStage: fc.oneof(fc.constant(visionFirst(vision, stages)), shares(vision, stages)),
      // Now and then a layer too many, which must be refused.
      languageLayersPerStage: fc.constantFrom(0, 0, 0, 1).chain((off) => shares(language + off, stages)),
    }),
  );
};
/** Rows and columns of a virtual pipeline; now and then of two shapes, which must be refused. */
const interleaved = (preset: Preset): fc.Arbitrary<RunSpecInput['layout']> => {
  const [vision, language] = SIZES[preset];
  return fc
    .record({ ranks: fc.integer({ min: 1, max: 4 }), rows: fc.integer({ min: 1, max: 3 }) })
    .chain(({ ranks, rows }) => {
      const table = (layers: number, height: number): fc.Arbitrary<number[][]> =>
        shares(layers, height * ranks).map((flat) =>
          Array.from({ length: height }, (_, row) => flat.slice(row * ranks, (row + 1) * ranks)),
        );
      const front = (height: number): number[][] => {
        const flat = visionFirst(vision, height * ranks);
        return Array.from({ length: height }, (_, row) => flat.slice(row * ranks, (row + 1) * ranks));
      };
      return fc.record({
        hosts: fc.integer({ min: 1, max: 2 }),
        npusPerHost: fc.constant(ranks * 2),
        tensorParallel: fc.constantFrom(1, 1, 2),
        virtualPipeline: fc.record({
          visionLayersPerStage: fc
            .constantFrom(0, 0, 0, 1)
            .chain((more) => fc.oneof(fc.constant(front(rows + more)), table(vision, rows + more))),
          // Even shares too, since random ones seldom leave something on every stage.
          languageLayersPerStage: fc.oneof(table(language, rows), fc.constant(evenTable(language, rows, ranks))),
        }),
      });
    });
};
const evenTable = (layers: number, rows: number, ranks: number): number[][] =>
  Array.from({ length: rows }, (_, row) =>
    Array.from({ length: ranks }, (__, rank) => {
      const stages = rows * ranks;
      const stage = row * ranks + rank;
      return Math.floor(((stage + 1) * layers) / stages) - Math.floor((stage * layers) / stages);
    }),
  );

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

/** Once in so many, since one of these is enough to be refused for. */
const seldom = <T>(...values: T[]): fc.Arbitrary<T | undefined> =>
  fc.oneof({ weight: 7, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: fc.constantFrom(...values) });
const sometimes = seldom(true);
const anyRuntime = fc
  .record({
    distributedOptimizer: seldom(false),
    overlapGradientReduce: sometimes,
    overlapParameterGather: sometimes,
    encoderBalance: sometimes,
    deterministic: sometimes,
    lossPer: seldom<'sample' | 'token'>('sample', 'token'),
    dataBuckets: seldom<'speed'>('speed'),
    recompute: fc.constantFrom(undefined, {}, { language: { method: 'block' as const, layers: 2 } }),
  })
  .map((asked) => ({
    kind: 'ascend' as const,
    mindspeedRelease: '2.2.0' as const,
    ...(JSON.parse(JSON.stringify(asked)) as Partial<typeof asked>),
  })) as fc.Arbitrary<RunSpecInput['runtime']>;

const isTogether = ({ distTrain, virtualPipeline }: RunSpecInput['layout']): boolean =>
  distTrain === undefined && virtualPipeline === undefined;

const anyInput: fc.Arbitrary<RunSpecInput> = anySize.chain((preset) =>
  fc
    .record({
      layout: fc.oneof(together(preset), apart(preset), interleaved(preset)),
      runtime: anyRuntime,
      sequenceLength: fc.constantFrom(4096, 4096, 4096, 4096, 4096, 4096, 4096, 4098, 3328, 1024, 440),
      maximumTiles: preset.startsWith('qwen') ? seldom(1) : fc.constantFrom(undefined, 1, 6),
      freeze: fc.subarray(['vision', 'projector', 'language'] as const, { maxLength: 2 }),
      globalBatchSize: fc.constantFrom(8, 16, 32, 48, 96, 100),
      microBatchSize: fc.constantFrom(1, 1, 2),
      refusedLora: sometimes,
      lora: fc.oneof(
        { weight: 1, arbitrary: fc.constant(undefined) },
        {
          weight: 1,
          arbitrary: fc.record({
            rank: fc.constantFrom(4, 16),
            alpha: fc.constant(16),
            targets: fc.subarray([...LORA_TARGETS], { minLength: 1 }),
          }),
        },
      ),
    })
    .map(
      ({
        layout,
        runtime,
        freeze,
        refusedLora,
        lora,
        globalBatchSize,
        microBatchSize,
        sequenceLength,
        maximumTiles,
      }) => ({
        ...publishedInput,
        layout,
        runtime,
        data: { ...publishedInput.data, ...(maximumTiles !== undefined && { maximumTiles }) },
        model: {
          ...publishedInput.model,
          family: familyOf(preset),
          preset,
          freeze,
          // Elsewhere adapters are refused for the layout, so that most of these would say nothing more.
          ...(lora && (refusedLora === true || isTogether(layout)) && { lora }),
        },
        training: { ...publishedInput.training, globalBatchSize, microBatchSize, sequenceLength },
      }),
    ),
);

const total = (numbers: readonly number[]): number => numbers.reduce((sum, number) => sum + number, 0);

/** What the trainer reads of the layout: its command line and model.json, not our own types. */
function readBack(plan: Plan) {
  const args = plan.stages.train.commands[0]?.args ?? [];
  const flag = (name: string): number => Number(args[args.indexOf(name) + 1]);
  const model = plan.stages.train.files.find(({ path }) => path === 'model.json')?.content as unknown as ModelJson;
  const data = plan.stages.train.files.find(({ path }) => path === 'data.json')?.content as unknown as DataJson;
  return { flag, args, model, data };
}
/** As model.json has them: one list, or one for each virtual stage. */
type Stages = readonly number[] | readonly (readonly number[])[];
interface DataJson {
  readonly dataset_param: { readonly max_dynamic_patch?: number };
  readonly dataloader_param: { readonly sampler_type: string };
}
interface ModelJson {
  readonly model_id: string;
  readonly dist_config?: { readonly model_config: readonly SubModel[] };
  readonly text_decoder: {
    readonly num_layers: number;
    readonly pipeline_num_layers: Stages;
    readonly num_key_value_heads?: number;
    readonly num_query_groups: number;
    readonly num_attention_heads: number;
    readonly ffn_hidden_size: number;
    readonly rope_scaling: object | null;
  };
  readonly image_encoder: {
    readonly vision_encoder: {
      readonly num_layers: number;
      readonly pipeline_num_layers: Stages;
      readonly ffn_hidden_size: number;
      readonly num_attention_heads: number;
      readonly freeze: boolean;
      readonly recompute_granularity?: string;
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
  /** In the order in which a row of data passes them. */
  readonly stages: readonly number[];
  readonly pipeline: number;
}

/** Towers as Megatron and Dist-train place them: in the order of the list, each on ranks in a row. */
function towersOf(plan: Plan): readonly Tower[] {
  const { flag, model } = readBack(plan);
  const lists = {
    vision: model.image_encoder.vision_encoder.pipeline_num_layers,
    language: model.text_decoder.pipeline_num_layers,
  };
  const stages = { vision: lists.vision.flat(), language: lists.language.flat() };
  if (model.dist_config === undefined) {
    const shared = {
      folder: 'mp_rank',
      first: 0,
      ranks: plan.gang.worldSize,
      tensors: flag('--tensor-model-parallel-size'),
      contexts: flag('--context-parallel-size'),
      pipeline: flag('--pipeline-model-parallel-size'),
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
    expect(sub.pipeline_model_parallel_size).toBe(lists[name].length);
    const tower: Tower = {
      name,
      folder: `mp_${sub.name}_rank`,
      first,
      ranks: sub.world_size,
      tensors: sub.tensor_model_parallel_size,
      contexts: sub.context_parallel_size,
      pipeline: sub.pipeline_model_parallel_size,
      stages: stages[name],
    };
    first += sub.world_size;
    return tower;
  });
}
const replicasOf = ({ ranks, tensors, contexts, pipeline }: Tower): number => ranks / (tensors * contexts * pipeline);

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
    const rows = args.includes('--virtual-pipeline-model-parallel-size')
      ? flag('--virtual-pipeline-model-parallel-size')
      : 1;
    expect(vision.stages).toHaveLength(flag('--pipeline-model-parallel-size') * rows);
    expect(language.stages).toHaveLength(flag('--pipeline-model-parallel-size') * rows);
    if (rows > 1) isInterleaved(plan, rows);
    // No language layer before the last vision layer has been.
    const seen = vision.stages.map((layers, stage) => (layers > 0 ? stage : -1));
    const read = language.stages.map((layers, stage) => (layers > 0 ? stage : Infinity));
    expect(Math.max(...seen)).toBeLessThanOrEqual(Math.min(...read));
  } else {
    expect(total(towers.map(({ ranks }) => ranks))).toBe(world);
    expect(args).toContain('--dist-train');
    expect(args).not.toContain('--virtual-pipeline-model-parallel-size');
    expect(model.text_decoder.rope_scaling).toBeNull();
    // The loss of pretrain_internvl.py is taken over logits that are whole.
    expect(language.tensors).toBe(1);
    // Equal replicas, or language as the main one and vision a multiple of it.
    const main = model.dist_config.model_config.filter(({ main_dp }) => main_dp === true).map(({ name }) => name);
    expect(main).toEqual(replicasOf(vision) === replicasOf(language) ? [] : ['gpt']);
    expect(replicasOf(vision) % replicasOf(language)).toBe(0);
    if (plan.runtime === 'ascend') expect(replicasOf(vision)).toBe(replicasOf(language));
  }
  // How many replicas share the batch is counted from the command line, with Dist-train too: else each iteration trains on fewer rows.
  const replica =
    flag('--tensor-model-parallel-size') * flag('--pipeline-model-parallel-size') * flag('--context-parallel-size');
  expect(world / replica).toBe(replicasOf(language));

  // Divisibility.
  expect(model.text_decoder.num_query_groups % language.tensors).toBe(0);
  expect(model.text_decoder.ffn_hidden_size % language.tensors).toBe(0);
  expect(model.image_encoder.vision_encoder.ffn_hidden_size % vision.tensors).toBe(0);
  if (language.contexts > 1) expect(flag('--seq-length') % (2 * language.contexts)).toBe(0);
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
  if (args.includes('--lora-target-modules')) hasAdaptersEverywhere(plan, towers, freeze);
  hasWhatItsScriptKnows(plan, language.tensors * language.contexts, replicasOf(vision));
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
  const rowsOf = (list: Stages): string => JSON.stringify(Array.isArray(list[0]) ? list : [list]);
  if (together)
    expect(lists).toEqual(
      [model.text_decoder, model.image_encoder.vision_encoder].map((one) => rowsOf(one.pipeline_num_layers)),
    );

  // The converter of the release permutes InternVL's split QKV and cannot read virtual stages, so it does not bring those back.
  if (isQwen(model)) isQwenPlan(plan, language);
  else if (together && (language.tensors > 1 || language.stages.length > language.pipeline))
    expect(plan.stages.publish.commands.every(({ program }) => program === 'python')).toBe(true);
}

/** Every stage is wrapped by peft, every adapter gets the whole of its gradient, and the base is beside it on a restart and at the end. */
function hasAdaptersEverywhere(plan: Plan, [vision, language]: readonly Tower[], freeze: readonly string[]): void {
  const { args, flag, model } = readBack(plan);
  const at = args.indexOf('--lora-target-modules');
  const targets = args.slice(at + 1, args.indexOf('--lora-r'));
  expect(targets.length).toBeGreaterThan(0);
  for (const target of targets) expect(LORA_TARGETS).toContain(target);
  for (const name of ['--dist-train', '--virtual-pipeline-model-parallel-size', '--sequence-parallel'])
    expect(args).not.toContain(name);
  const projects = !freeze.includes('projector') && (targets.includes('linear_fc1') || targets.includes('linear_fc2'));
  const projectorAt = vision?.stages.findLastIndex((layers) => layers > 0);
  language?.stages.forEach((layers, stage) => {
    const sees = !freeze.includes('vision') && (vision?.stages[stage] ?? 0) > 0;
    expect(layers > 0 || sees || (projects && stage === projectorAt)).toBe(true);
  });
  if (!freeze.includes('vision')) {
    expect(model.image_encoder.vision_encoder.recompute_granularity).toBeUndefined();
    expect(model.image_encoder.vision_encoder.num_attention_heads % flag('--tensor-model-parallel-size')).toBe(0);
  }
  expect(args).not.toContain('--load-base-model');
  expect(plan.stages.train.commands[0]?.whenResumed).toEqual(['--load-base-model', { hole: 'converted' }]);
  expect(plan.stages.publish.inputs).toContain('converted');
  expect(plan.stages.publish.commands[0]?.args).toContain('anneal_trainer.lora_merge');
}

const isQwen = ({ model_id }: ModelJson): boolean => model_id === 'qwen2_5vl';

/** The columns of Qwen2.5-VL in the README's table, its scripts, its converter, and that its tensors are cut evenly. */
function isQwenPlan(plan: Plan, language: Tower): void {
  const { args, flag, model } = readBack(plan);
  const has = (name: string): boolean => args.includes(name);
  expect(model.dist_config).toBeUndefined();
  for (const name of ['--virtual-pipeline-model-parallel-size', '--dist-train', '--encoder-dp-balance'])
    expect(has(name)).toBe(false);
  expect(has('--make-vocab-size-divisible-by')).toBe(true);
  expect(flag('--vocab-size') % language.tensors).toBe(0);
  for (const { num_attention_heads } of [model.text_decoder, model.image_encoder.vision_encoder])
    expect(num_attention_heads % language.tensors).toBe(0);
  expect(has('--unaligned-linear')).toBe(has('--sequence-parallel'));
  const converters = [plan.stages.convert, plan.stages.publish]
    .flatMap(({ commands }) => commands)
    .filter(({ args: given }) => !given.includes('anneal_trainer.lora_merge'));
  expect(converters).toHaveLength(2);
  for (const { program, args: given, stdin } of converters) {
    expect([program, given[0], stdin]).toEqual(['mm-convert', 'Qwen2_5_VLConverter', undefined]);
  }
}

/** Both lists are tables of one shape, over more than one rank, and micro-batches come in rounds of the ranks. */
function isInterleaved(plan: Plan, rows: number): void {
  const { flag, model } = readBack(plan);
  const ranks = flag('--pipeline-model-parallel-size');
  expect(ranks).toBeGreaterThan(1);
  for (const table of [
    model.text_decoder.pipeline_num_layers,
    model.image_encoder.vision_encoder.pipeline_num_layers,
  ]) {
    expect(table).toHaveLength(rows);
    for (const row of table) expect(row).toHaveLength(ranks);
  }
  const parts = flag('--tensor-model-parallel-size') * flag('--context-parallel-size') * ranks;
  const microBatches = (flag('--global-batch-size') * parts) / (flag('--micro-batch-size') * plan.gang.worldSize);
  expect(microBatches % ranks).toBe(0);
}

/** What either entry script has no word for, and what Megatron's arguments ask of each other. */
function hasWhatItsScriptKnows(plan: Plan, splits: number, visionReplicas: number): void {
  const { flag, args, model, data } = readBack(plan);
  const has = (name: string): boolean => args.includes(name);
  const script = args.find(
    (one) => typeof one === 'object' && one.hole === 'trainerHome' && one.then?.endsWith('.py') === true,
  );
  const isVlm = typeof script === 'object' && script.then === '/pretrain_vlm.py';
  const tiles = data.dataset_param.max_dynamic_patch ?? 1;
  const seen = tiles > 1 ? tiles + 1 : 1;
  // An image of Qwen2.5-VL has at most 446 tokens (trainer/tests/test_qwen.py).
  expect(flag('--seq-length')).toBeGreaterThan(isQwen(model) ? 446 : 256 * seen);
  if (isVlm) expect(has('--encoder-dp-balance')).toBe(false);
  else {
    expect(splits).toBe(1);
    for (const name of ['--calculate-per-token-loss', '--calculate-per-sample-loss']) expect(has(name)).toBe(false);
  }
  if (has('--encoder-dp-balance')) {
    expect(model.dist_config).toBeUndefined();
    expect(visionReplicas).toBeGreaterThan(1);
    expect(seen * flag('--micro-batch-size')).toBeLessThan(128);
  }
  expect(has('--calculate-per-token-loss') && has('--calculate-per-sample-loss')).toBe(false);
  if (has('--overlap-param-gather'))
    for (const name of ['--overlap-grad-reduce', '--use-distributed-optimizer']) expect(has(name)).toBe(true);
  if (has('--sequence-parallel')) expect(flag('--tensor-model-parallel-size')).toBeGreaterThan(1);
  if (data.dataloader_param.sampler_type === 'BucketBatchSampler')
    expect((model.dist_config?.model_config ?? []).some(({ main_dp }) => main_dp === true)).toBe(false);
  for (const name of ['--num-layers-per-virtual-pipeline-stage', '--num-virtual-stages-per-pipeline-rank'])
    expect(has(name)).toBe(false);
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
    Array.from({ length: tower.tensors * tower.pipeline }, (_, index) => {
      const tensor = index % tower.tensors;
      const stage = Math.floor(index / tower.tensors);
      const name =
        `${tower.folder}_${String(tensor).padStart(2, '0')}` +
        (tower.pipeline > 1 ? `_${String(stage).padStart(3, '0')}` : '');
      const writer = tower.first + tensor + tower.tensors * tower.contexts * replicasOf(tower) * stage;
      return { name, node: Math.floor(writer / plan.gang.npusPerHost) };
    }),
  );
  const hasShards = readBack(plan).args.includes('--use-distributed-optimizer');
  const saved = expected.flatMap(({ name, node }) => [
    `${name}/model_optim_rng.pt by ${String(node)}`,
    ...(hasShards ? [`${name}/distrib_optim.pt by ${String(node)}`] : []),
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
  let interleavedPassed = 0;
  let qwenPassed = 0;
  let adaptedPassed = 0;
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
      if (spec.data.layout.virtualPipeline !== undefined) interleavedPassed += 1;
      if (spec.data.model.family === 'qwen2.5-vl') qwenPassed += 1;
      if (spec.data.model.lora !== undefined) adaptedPassed += 1;
      keepsTheRules(composed.plan, spec.data.model.freeze);
      placesEveryRankAndLayerOnce(composed.plan);
      savesWhatTheTrainerWrites(composed.plan);
      groupsAgree(spec.data);
    }),
    { numRuns: 6000, seed: 7 },
  );
  // Else the property would hold of nothing.
  expect(passed).toBeGreaterThan(60);
  expect(apartPassed).toBeGreaterThan(20);
  expect(interleavedPassed).toBeGreaterThan(20);
  expect(qwenPassed).toBeGreaterThan(20);
  expect(adaptedPassed).toBeGreaterThan(20);
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
    for (const other of one.otherTower) expect(row(other).otherTower).toContain(one.rank);
    const isFed = spec.layout.distTrain !== undefined && one.modules.some(({ module }) => module === 'projector');
    if (isFed) expect(one.otherTower.length).toBeGreaterThan(0);
    const { weights, gradients, optimizer, peak } = memory[one.rank] ?? expect.fail('no memory');
    for (const bytes of [weights, gradients, optimizer]) expect(bytes).toBeGreaterThan(0);
    expect(peak).toBeGreaterThanOrEqual(weights + gradients + optimizer);
  }
}

import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { composePlan } from '../../../src/backends/compose-plan.js';
import { findFreePort } from '../../../src/process/free-port.js';
import { fillJson } from '../../../src/plan/plan.js';
import type { Argument, Plan } from '../../../src/plan/plan.js';
import type { RunSpecInput } from '../../../src/spec/run.js';
import { demoInput, publishedInput, publishedQwenInput, QWEN_LAYOUTS, specOf } from './specs.js';

function planOf(input: RunSpecInput): Plan {
  const composed = composePlan(specOf(input));
  if (!('plan' in composed)) throw new Error(JSON.stringify(composed.refusals));
  return composed.plan;
}

/** Flags with their value, or true for a switch; everything before the entry script is torchrun's. */
function flagsOf(args: readonly Argument[]): Record<string, Argument | true> {
  const flags: Record<string, Argument | true> = {};
  args.forEach((argument, index) => {
    if (typeof argument !== 'string' || !argument.startsWith('--')) return;
    const next = args[index + 1];
    flags[argument] = next === undefined || (typeof next === 'string' && next.startsWith('--')) ? true : next;
  });
  return flags;
}
const trainFlags = (input: RunSpecInput) => flagsOf(planOf(input).stages.train.commands[0]?.args ?? []);
const configOf = (input: RunSpecInput, path: string) =>
  fillJson(planOf(input).stages.train.files.find((file) => file.path === path)?.content ?? null, {
    dataset: '/d',
    baseModel: '/b',
    work: '/w',
  }) as Record<string, Record<string, unknown>>;

describe('against finetune_internvl3_8B.sh of MindSpeed MM 2.2.0', () => {
  /** GPT_ARGS, MM_ARGS and OUTPUT_ARGS of the script, without what differs on purpose. */
  const published: Record<string, string | true> = {
    '--nproc_per_node': '8',
    '--nnodes': '1',
    '--tensor-model-parallel-size': '1',
    '--pipeline-model-parallel-size': '4',
    '--context-parallel-size': '1',
    '--micro-batch-size': '1',
    '--global-batch-size': '128',
    '--seq-length': '4096',
    '--tokenizer-type': 'NullTokenizer',
    '--vocab-size': '151674',
    '--position-embedding-type': 'rope',
    '--rotary-base': '1000000',
    '--swiglu': true,
    '--no-masked-softmax-fusion': true,
    '--lr': '2e-5',
    '--min-lr': '0.0',
    '--train-iters': '5000',
    '--lr-decay-style': 'cosine',
    '--weight-decay': '0.05',
    '--clip-grad': '1.0',
    '--adam-beta1': '0.9',
    '--adam-beta2': '0.999',
    '--no-gradient-accumulation-fusion': true,
    '--use-distributed-optimizer': true,
    '--use-flash-attn': true,
    '--bf16': true,
    '--variable-seq-lengths': true,
    '--normalization': 'RMSNorm',
    '--num-workers': '4',
    '--log-interval': '1',
    '--eval-interval': '5000',
    '--eval-iters': '5000',
    '--ckpt-format': 'torch',
    '--distributed-backend': 'nccl',
  };
  const ours = trainFlags(publishedInput);

  test.each(Object.entries(published))('%s has the published value', (name, value) => {
    const mine = ours[name];
    if (value !== true && Number.isFinite(Number(value))) expect(Number(mine)).toBe(Number(value));
    else expect(mine).toBe(value);
  });

  test('adds only what an exact resume and a durable run need', () => {
    expect(
      Object.keys(ours)
        .filter((name) => !(name in published))
        .sort(),
    ).toEqual([
      '--distributed-timeout-minutes',
      '--exit-on-missing-checkpoint',
      '--exit-signal-handler',
      '--load',
      '--lr-warmup-iters',
      '--master_addr',
      '--master_port',
      '--mm-data',
      '--mm-model',
      '--mm-tool',
      '--node_rank',
      '--save',
      '--save-interval',
      '--seed',
    ]);
  });

  test('runs pretrain_vlm.py from the root of the repository, where its relative paths hold', () => {
    const command = planOf(publishedInput).stages.train.commands[0];
    expect(command?.args).toContainEqual({ hole: 'trainerHome', then: '/pretrain_vlm.py' });
    expect(command?.cwd).toEqual({ hole: 'trainerHome' });
    expect(ours['--mm-tool']).toEqual({ hole: 'trainerHome', then: '/mindspeed_mm/tools/tools.json' });
    expect(command?.env).toMatchObject({ HCCL_CONNECT_TIMEOUT: '1200', CUDA_DEVICE_MAX_CONNECTIONS: '1' });
  });

  test('patience grows from the collective to its events to the watchdog that would leave no plog', () => {
    const env = planOf(publishedInput).stages.train.commands[0]?.env ?? {};
    const seconds = (name: string) => Number(env[name]);
    expect(seconds('HCCL_EVENT_TIMEOUT')).toBeGreaterThan(seconds('HCCL_EXEC_TIMEOUT'));
    const watchdog = Number(ours['--distributed-timeout-minutes']) * 60;
    for (const name of ['HCCL_EVENT_TIMEOUT', 'HCCL_CONNECT_TIMEOUT'])
      expect(watchdog).toBeGreaterThan(seconds(name) + 20);
  });

  test("HCCL's ports are beyond those on which a gang meets", async () => {
    const env = planOf(publishedInput).stages.train.commands[0]?.env ?? {};
    const ports = await Promise.all(Array.from({ length: 50 }, () => findFreePort()));
    expect(Number(env['HCCL_IF_BASE_PORT'])).toBeGreaterThan(Math.max(...ports));
    expect(new Set(ports).size).toBeGreaterThan(40);
  });

  test('every variable has its reason in the documents', () => {
    const operations = readFileSync(new URL('../../../docs/operations.md', import.meta.url), 'utf8');
    const env = {
      ...planOf(publishedQwenInput).stages.train.commands[0]?.env,
      ...planOf(publishedInput).stages.train.commands[0]?.env,
    };
    const rows = operations.split('\n').filter((line) => line.startsWith('| `'));
    for (const [name, value] of Object.entries(env)) {
      const row = rows.find((line) => line.split(' | ')[0]?.includes(`\`${name}\``));
      expect(row, name).toBeDefined();
      if (typeof value === 'string') expect(row, name).toContain(value);
    }
  });
});

describe('against finetune_qwen2_5_vl_7b.sh of MindSpeed MM 2.2.0', () => {
  /** GPT_ARGS, MM_ARGS and OUTPUT_ARGS of the script, without what differs on purpose. */
  const published: Record<string, string | true> = {
    '--use-mcore-models': true,
    '--tensor-model-parallel-size': '1',
    '--pipeline-model-parallel-size': '2',
    '--context-parallel-size': '1',
    '--context-parallel-algo': 'ulysses_cp_algo',
    '--micro-batch-size': '1',
    '--global-batch-size': '192',
    '--tokenizer-type': 'NullTokenizer',
    '--vocab-size': '152064',
    '--seq-length': '1024',
    '--make-vocab-size-divisible-by': '1',
    '--normalization': 'RMSNorm',
    '--use-fused-rmsnorm': true,
    '--swiglu': true,
    '--use-fused-swiglu': true,
    '--no-masked-softmax-fusion': true,
    '--lr': '1.0e-5',
    '--lr-decay-style': 'cosine',
    '--weight-decay': '0',
    '--train-iters': '10000',
    '--clip-grad': '0.0',
    '--adam-beta1': '0.9',
    '--adam-beta2': '0.999',
    '--seed': '42',
    '--bf16': true,
    '--use-flash-attn': true,
    '--variable-seq-lengths': true,
    '--use-distributed-optimizer': true,
    '--num-workers': '8',
    '--log-interval': '1',
    '--eval-interval': '10000',
    '--ckpt-format': 'torch',
    '--distributed-backend': 'nccl',
  };
  const ours = trainFlags(publishedQwenInput);

  test.each(Object.entries(published))('%s has the published value', (name, value) => {
    const mine = ours[name];
    if (value !== true && Number.isFinite(Number(value))) expect(Number(mine)).toBe(Number(value));
    else expect(mine).toBe(value);
  });

  test('adds only what an exact resume, a durable run and the other sizes need', () => {
    const script = ['--nproc_per_node', '--nnodes', '--node_rank', '--master_addr', '--master_port'];
    expect(Object.keys(ours).filter((name) => !(name in published) && !script.includes(name))).toEqual([
      '--min-lr',
      // 0.1 of 10,000 iterations, as --lr-warmup-fraction has it.
      '--lr-warmup-iters',
      // The scripts of 3B, 32B and 72B have it.
      '--no-gradient-accumulation-fusion',
      '--mm-data',
      '--mm-model',
      '--mm-tool',
      '--load',
      '--save',
      '--save-interval',
      '--exit-on-missing-checkpoint',
      '--exit-signal-handler',
      '--eval-iters',
      '--distributed-timeout-minutes',
    ]);
  });

  test('of the 72B swaps attention and binds threads finely; layers that are computed again are not swapped', () => {
    const large = (more: Partial<RunSpecInput> = {}): Plan['stages']['train'] =>
      planOf({
        ...publishedQwenInput,
        model: { ...publishedQwenInput.model, preset: 'qwen2.5-vl-72b' },
        layout: QWEN_LAYOUTS['qwen2.5-vl-72b'],
        ...more,
      }).stages.train;
    const [published72] = large().commands;
    expect(flagsOf(published72?.args ?? [])).toMatchObject({ '--swap-attention': true });
    expect(published72?.env).toMatchObject({ CPU_AFFINITY_CONF: '2' });
    const recompute = { language: { method: 'uniform' as const, layers: 1 } };
    const [again] = large({ runtime: { kind: 'ascend', mindspeedRelease: '2.2.0', recompute } }).commands;
    expect(flagsOf(again?.args ?? [])).not.toHaveProperty('--swap-attention');
  });

  test('sets the variables that the scripts of the family have beside those of InternVL', () => {
    const environment = planOf(publishedQwenInput).stages.train.commands[0]?.env;
    expect(environment).toMatchObject({ NPU_ASD_ENABLE: '0', ASCEND_LAUNCH_BLOCKING: '0', CPU_AFFINITY_CONF: '1' });
    expect(planOf(publishedInput).stages.train.commands[0]?.env).not.toHaveProperty('NPU_ASD_ENABLE');
  });

  test('prepares rows for its template and judges images as it has seen them in training', () => {
    const { prepare, evaluate } = planOf(publishedQwenInput).stages;
    expect(flagsOf(prepare.commands[0]?.args ?? [])).toMatchObject({
      '--template': 'qwen2vl',
      '--image-max-pixels': '262144',
    });
    for (const { args } of evaluate.commands) expect(flagsOf(args)).toMatchObject({ '--image-max-pixels': '262144' });
    expect(configOf(publishedQwenInput, 'data.json')).toMatchObject({
      dataset_param: {
        preprocess_parameters: { model_name_or_path: '/b', image_max_pixels: 262144 },
        basic_parameters: {
          dataset_dir: '/d/images',
          dataset: '/d/train.jsonl',
          cache_dir: '/w/rows',
        },
      },
    });
  });
});

describe.each([
  ['the demo', demoInput],
  ['InternVL3-8B', publishedInput],
])('resuming %s', (_, input) => {
  test.each(['--no-load-optim', '--no-load-rng', '--no-save-optim', '--no-save-rng', '--ckpt-step', '--finetune'])(
    '%s is never passed, since it would break the exact resume',
    (name) => {
      expect(trainFlags(input)).not.toHaveProperty(name);
    },
  );
});

describe('flags by layout', () => {
  test('tensors split over ranks need --unaligned-linear, split sequences the ring algorithm', () => {
    const flags = trainFlags({
      ...publishedInput,
      layout: { hosts: 1, npusPerHost: 8, tensorParallel: 2, contextParallel: 2 },
    });
    expect(flags).toMatchObject({
      '--tensor-model-parallel-size': '2',
      '--context-parallel-size': '2',
      '--unaligned-linear': true,
      '--context-parallel-algo': 'megatron_cp_algo',
    });
    expect(trainFlags(publishedInput)).not.toHaveProperty('--unaligned-linear');
  });

  test('the CPU runtime claims no NPU features', () => {
    const flags = trainFlags(demoInput);
    for (const name of ['--bf16', '--use-flash-attn', '--mm-tool']) expect(flags).not.toHaveProperty(name);
  });
});

describe('model.json', () => {
  test('holds the published values of InternVL3-8B', () => {
    const model = configOf(publishedInput, 'model.json');
    expect(model).toMatchObject({
      model_id: 'InternVL3',
      img_context_token_id: 151667,
      downsample_ratio: 0.5,
      ps_version: 'v2',
      text_decoder: {
        num_layers: 28,
        pipeline_num_layers: [6, 8, 8, 6],
        hidden_size: 3584,
        ffn_hidden_size: 18944,
        num_attention_heads: 28,
        num_key_value_heads: 4,
        num_query_groups: 4,
        vocab_size: 151674,
        max_position_embeddings: 32768,
        rope_scaling: { factor: 2, type: 'dynamic' },
        params_dtype: 'bf16',
      },
      image_encoder: {
        vision_encoder: {
          num_layers: 24,
          pipeline_num_layers: [24, 0, 0, 0],
          hidden_size: 1024,
          ffn_hidden_size: 4096,
          num_attention_heads: 16,
          add_qkv_bias: true,
          qk_layernorm: false,
          normalization: 'LayerNorm',
          drop_path_rate: 0.4,
          freeze: true,
        },
        vision_projector: { model_id: 'InternVLMLP', vit_hidden_size: 1024, llm_hidden_size: 3584 },
      },
    });
    expect(model).not.toHaveProperty('dist_config');
    expect(model['text_decoder']).not.toHaveProperty('recompute_granularity');
  });

  test('of the 78B recomputes the language tower and has its other vision tower', () => {
    const model = configOf(
      {
        ...publishedInput,
        model: { ...publishedInput.model, preset: 'internvl3-78b' },
        layout: {
          hosts: 4,
          npusPerHost: 16,
          tensorParallel: 8,
          visionLayersPerStage: [45, 0],
          languageLayersPerStage: [40, 40],
        },
      },
      'model.json',
    );
    expect(model).toMatchObject({
      text_decoder: {
        num_layers: 80,
        hidden_size: 8192,
        ffn_hidden_size: 29568,
        num_attention_heads: 64,
        num_query_groups: 8,
        recompute_granularity: 'full',
        recompute_method: 'uniform',
        recompute_num_layers: 1,
        variable_seq_lengths: true,
      },
      image_encoder: {
        vision_encoder: {
          num_layers: 45,
          hidden_size: 3200,
          ffn_hidden_size: 12800,
          num_attention_heads: 25,
          normalization: 'RMSNorm',
          qk_layernorm: true,
          q_layernorm: 'RMSNorm',
          add_qkv_bias: false,
        },
      },
    });
  });

  test('of Dist-train names vit and gpt with their ranks, and leaves out the rope scaling that its model class lacks', () => {
    const model = configOf(
      {
        ...publishedInput,
        layout: {
          hosts: 1,
          npusPerHost: 4,
          distTrain: { vision: { npus: 1 }, language: { npus: 3, layersPerStage: [8, 10, 10] } },
        },
      },
      'model.json',
    );
    expect(model['dist_config']).toEqual({
      model_name: 'internvl2',
      use_multiparam_send_recv: false,
      model_config: [
        {
          name: 'vit',
          model_index: 0,
          world_size: 1,
          tensor_model_parallel_size: 1,
          pipeline_model_parallel_size: 1,
          context_parallel_size: 1,
          forward_only: false,
        },
        {
          name: 'gpt',
          model_index: 1,
          world_size: 3,
          tensor_model_parallel_size: 1,
          pipeline_model_parallel_size: 3,
          context_parallel_size: 1,
          forward_only: false,
        },
      ],
    });
    expect(model['text_decoder']?.['rope_scaling']).toBeNull();
  });

  test('marks the language tower main_dp only where one of its replicas is fed by several of vision', () => {
    const model = configOf(
      { ...demoInput, layout: { hosts: 3, npusPerHost: 1, distTrain: { vision: { npus: 2 }, language: { npus: 1 } } } },
      'model.json',
    );
    const entries = model['dist_config']?.['model_config'] as Record<string, unknown>[];
    expect(entries.map((entry) => entry['main_dp'])).toEqual([undefined, true]);
  });

  test('says aloud that the vision tower is trained, since the trainer freezes it if nothing is said', () => {
    const encoder = configOf(demoInput, 'model.json')['image_encoder']?.['vision_encoder'] as Record<string, unknown>;
    expect(encoder['freeze']).toBe(false);
  });
});

describe('data.json', () => {
  test('reads the prepared rows and the tokenizer of the base model', () => {
    const data = configOf(publishedInput, 'data.json');
    expect(data['dataset_param']).toMatchObject({
      basic_parameters: { data_path: '/d/train.jsonl', data_folder: '/d/images/', repeat_time: 1 },
      tokenizer_config: { from_pretrained: '/b', add_eos_token: false, use_fast: false },
      image_size: 448,
      dynamic_image_size: true,
      use_thumbnail: true,
      max_dynamic_patch: 12,
      template_name: 'internvl2_5',
    });
    expect(data['dataloader_param']).toMatchObject({
      drop_last: true,
      sampler_type: 'BaseRandomBatchSampler',
      collate_param: { model_name: 'internvl', pad_id: 151643 },
    });
  });

  test('of the CPU runtime shows each image as one tile of its own size', () => {
    expect(configOf(demoInput, 'data.json')['dataset_param']).toMatchObject({
      image_size: 28,
      patch_size: 7,
      dynamic_image_size: false,
      use_thumbnail: false,
      max_dynamic_patch: 1,
    });
  });
});

/** `anneal import`: a script to the published one's description becomes a spec that plans, with an account of every line. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { describe, expect, test } from 'vitest';
import { composePlan } from '../../../src/backends/compose-plan.js';
import {
  type Imported,
  importScript,
  type ImportRequest,
} from '../../../src/backends/mindspeed/import/import-script.js';
import { showArgument } from '../../../src/plan/plan.js';
import { parseSpec } from '../../../src/spec/parse.js';
import { showRefusal } from '../../../src/spec/refusal.js';
import { publishedInput } from './specs.js';

const cwd = fileURLToPath(new URL('../../fixtures/import', import.meta.url));
const FOLDER = 'examples/internvl3';
const SCRIPT = `${FOLDER}/finetune_internvl3_8B.sh`;
const fixture = (name: string): string => readFileSync(join(cwd, FOLDER, name), 'utf8');
const script = fixture('finetune_internvl3_8B.sh');

/** The fixture with parts of its files replaced; a replacement that finds nothing fails the test. */
function request(
  replace: Readonly<Record<string, readonly (readonly [string, string])[]>> = {},
  more = {},
): ImportRequest {
  const read = (path: string): string | undefined => {
    const name = path.replace(/^.*\//, '');
    if (!['finetune_internvl3_8B.sh', 'model_8B.json', 'data_8B.json', 'hostfile.txt'].includes(name)) return undefined;
    return (replace[name] ?? []).reduce((text, [from, to]) => {
      if (!text.includes(from)) throw new Error(`${name} does not hold ${from}`);
      return text.replace(from, () => to);
    }, fixture(name));
  };
  const files = { read, begins: () => undefined, isFile: () => false };
  return { scriptFile: SCRIPT, cwd, hostfile: `${FOLDER}/hostfile.txt`, ...files, ...more };
}

function accepted(one: ImportRequest): Imported {
  const imported = importScript(one);
  if ('refusals' in imported) throw new Error(imported.refusals.map(showRefusal).join('\n'));
  return imported;
}

function refused(one: ImportRequest): string[] {
  const imported = importScript(one);
  return 'refusals' in imported ? imported.refusals.map(showRefusal) : [];
}

const sh = (...replacements: (readonly [string, string])[]) => request({ 'finetune_internvl3_8B.sh': replacements });
const noted = (imported: Imported, what: string) =>
  imported.entries
    .filter((entry) => entry.what.startsWith(what))
    .map(({ line, verdict, note }) => ({ line, verdict, note }));
const lineOf = (text: string): number => script.split('\n').findIndex((line) => line.includes(text)) + 1;

describe('the published script', () => {
  const imported = accepted(request());

  test('becomes the spec of the published fine-tune on the hosts of the host file, and that spec plans', () => {
    const parsed = parseSpec(stringify(imported.document), { fileName: join(cwd, 'run.yaml') });
    if ('refusals' in parsed) throw new Error(parsed.refusals.map(showRefusal).join('\n'));
    const { training, layout, model } = parsed.spec;
    expect(training).toMatchObject({
      ...publishedInput.training,
      globalBatchSize: 64 * 8,
      weightDecay: 0.05,
      clipGradient: 1,
    });
    expect(layout).toMatchObject({ ...publishedInput.layout, hosts: 4 });
    expect(model).toMatchObject({ ...publishedInput.model, source: { uri: 'file:///data/models/InternVL3-8B' } });
    expect(composePlan(parsed.spec)).toHaveProperty('plan');
  });

  test('every line of the script that says something is in the account', () => {
    const told = new Set(
      imported.entries.flatMap(({ line = 0, lastLine = line }) =>
        Array.from({ length: lastLine - line + 1 }, (_, index) => line + index),
      ),
    );
    const silent = script
      .split('\n')
      .flatMap((text, index) => (told.has(index + 1) ? [] : [text.trim()]))
      .filter((text) => text !== '' && !text.startsWith('#'));
    // What is left only opens or closes a list of flags, or starts the launch that they are told of with.
    expect(silent).toEqual([
      'DISTRIBUTED_ARGS="',
      '"',
      'MM_ARGS="',
      '"',
      'GPT_ARGS="',
      '"',
      'OUTPUT_ARGS="',
      '"',
      'torchrun $DISTRIBUTED_ARGS \\',
      '$GPT_ARGS \\',
      '$MM_ARGS \\',
      '$OUTPUT_ARGS \\',
    ]);
  });

  test('what is said to be the same is in the command, the environment and the files of the plan', () => {
    const parsed = parseSpec(stringify(imported.document), { fileName: join(cwd, 'run.yaml') });
    const composed = 'spec' in parsed ? composePlan(parsed.spec) : parsed;
    if (!('plan' in composed)) throw new Error('The spec is refused.');
    const [command] = composed.plan.stages.train.commands;
    const args = command?.args.map(showArgument) ?? [];
    const same = imported.entries
      .filter(({ verdict, line }) => verdict === 'same' && line !== undefined)
      .map(({ what }) => what);
    const flags = same.filter((what) => what.startsWith('--'));
    expect(flags.length).toBeGreaterThan(15);
    for (const flag of flags) {
      const [name = '', value] = flag.split(' ');
      expect(args).toContain(name);
      if (value !== undefined) expect(args[args.indexOf(name) + 1]).toBe(value);
    }
    const variables = same.filter((what) => what.startsWith('export '));
    expect(variables).toHaveLength(9);
    for (const variable of variables) {
      const [name = '', value] = variable.replace('export ', '').split('=');
      expect(showArgument(command?.env[name] ?? '')).toBe(value);
    }
  });

  test.each([
    ['--no-load-optim', 'dropped', /learning rate/],
    ['--load ', 'dropped', /converts/],
    ['--master_port 6000', 'dropped', /every generation/],
    ['source /usr', 'dropped', /ascend\.setEnv/],
    ['| tee ', 'dropped', /anneal logs/],
    ['if [ "$TOKENS" ]', 'not understood', /block/],
    ['STEP_TIME=', 'not understood', /not run/],
    ['dataset_param.max_dynamic_patch', 'carried', /maximumTiles: 6/],
    ['evaluation.heldOutFraction', 'added', /all rows/],
  ])('%s is %s with its reason', (what, verdict, reason) => {
    const [entry] = noted(imported, what);
    expect(entry?.verdict).toBe(verdict);
    expect(entry?.note).toMatch(reason);
  });

  test('the flags have the lines on which they stand, the variables their own', () => {
    expect(noted(imported, '--lr 2e-5')[0]?.line).toBe(lineOf('--lr 2e-5'));
    expect(noted(imported, '--global-batch-size')[0]?.line).toBe(lineOf('--global-batch-size'));
    expect(noted(imported, 'GRAD_ACC_STEP=64')).toEqual([
      { line: lineOf('GRAD_ACC_STEP=64'), verdict: 'carried', note: 'Used by --global-batch-size.' },
    ]);
  });

  test('the rows of data.json become a meta JSON for the one folder that a spec names', () => {
    expect(imported.meta).toEqual({
      path: '/data/internvl/playground/anneal-import.json',
      content: {
        ai2d_train_12k: { root: 'data/ai2d', annotation: 'opensource/ai2d_train_12k.jsonl', repeat_time: 1 },
        sharegpt4v_instruct: { root: 'data', annotation: 'opensource/sharegpt4v_instruct.jsonl', repeat_time: 0.5 },
      },
    });
    expect(imported.document['data']).toEqual({
      source: { uri: 'file:///data/internvl/playground' },
      meta: 'anneal-import.json',
      maximumTiles: 6,
    });
  });

  test('a save at the end alone is carried, and said to be a risk', () => {
    expect(imported.hints).toEqual([expect.stringMatching(/a lost host would cost all of it/)]);
    expect(accepted(sh(['--save-interval 5000', '--save-interval 200'])).hints).toEqual([]);
  });
});

describe('other scripts', () => {
  test('a flag that no field stands for, and an exported variable that the trainer does not get, are said to be lost', () => {
    const imported = accepted(
      sh(
        ['--swiglu', '--swiglu --recompute-granularity full'],
        ['export ACLNN', 'export HCCL_BUFFSIZE=400\nexport ACLNN'],
      ),
    );
    expect(noted(imported, '--recompute-granularity full')).toEqual([
      { line: lineOf('--swiglu') + 1, verdict: 'not carried', note: expect.stringContaining('no field') as unknown },
    ]);
    expect(noted(imported, 'export HCCL_BUFFSIZE')[0]?.verdict).toBe('not carried');
  });

  test.each([
    ['behind a switch', '--swiglu \\', '--swiglu $EXTRA_ARGS \\', '--swiglu'],
    ['behind a value', '--num-workers 4 \\', '--num-workers 4 $EXTRA_ARGS \\', '--num-workers 4'],
  ])('arguments that nobody knows, %s, are listed and hide nothing', (_, from, to, flag) => {
    const imported = accepted(sh([from, to]));
    expect(noted(imported, '$EXTRA_ARGS')).toEqual([
      { line: lineOf(from), verdict: 'not understood', note: expect.stringContaining('May hold any flags') as unknown },
    ]);
    expect(noted(imported, flag)[0]?.verdict).toBe('same');
  });

  test('a flag left out means what Megatron takes then, not the default of the spec', () => {
    const imported = accepted(sh(['    --weight-decay 0.05 \\\n', '']));
    expect(imported.document['training']).toMatchObject({ weightDecay: 0.01 });
  });

  test('a value of the environment is the one that Anneal sets, if that is another one', () => {
    const [entry] = noted(accepted(sh(['TIMEOUT=1200', 'TIMEOUT=600'])), 'export HCCL_CONNECT_TIMEOUT');
    expect(entry).toMatchObject({ verdict: 'dropped', note: 'Anneal sets 1200.' });
  });

  test('sizes of no preset are carried as dimensions', () => {
    const smaller = [
      ['"num_layers": 28', '"num_layers": 24'],
      ['[6, 8, 8, 6]', '[6, 6, 6, 6]'],
      ['"ffn_hidden_size": 18944', '"ffn_hidden_size": 9472'],
    ] as const;
    const imported = accepted(request({ 'model_8B.json': smaller }));
    expect(imported.document['model']).toMatchObject({
      dimensions: { language: { layers: 24, ffnHiddenSize: 9472, paddingTokenId: 151643 } },
    });
    expect(imported.document['model']).not.toHaveProperty('preset');
  });

  test('Dist-train is carried from dist_config, with its program', () => {
    const tower = (name: string, index: number, size: number, stages: number): string =>
      JSON.stringify({
        name,
        model_index: index,
        world_size: size,
        pipeline_model_parallel_size: stages,
        main_dp: name === 'gpt',
      });
    const config = `"dist_config": { "model_name": "internvl2", "model_config": [${tower('vit', 0, 8, 1)}, ${tower('gpt', 1, 24, 3)}] },`;
    const imported = accepted(
      request({
        'finetune_internvl3_8B.sh': [
          ['pretrain_vlm.py', 'pretrain_internvl.py'],
          ['--swiglu', '--swiglu --dist-train'],
        ],
        'model_8B.json': [
          ['"text_decoder"', `${config} "text_decoder"`],
          ['[24, 0, 0, 0]', '[24]'],
          ['[6, 8, 8, 6]', '[9, 10, 9]'],
        ],
      }),
    );
    expect(imported.document['layout']).toEqual({
      hosts: 4,
      npusPerHost: 8,
      distTrain: {
        vision: { npus: 8, tensorParallel: 1, layersPerStage: [24] },
        language: { npus: 24, tensorParallel: 1, layersPerStage: [9, 10, 9] },
      },
    });
    // Of it the trainer counts the replicas: 32 ranks by 4 are the 8 of either tower.
    expect(noted(imported, '--pipeline-model-parallel-size 4')[0]?.verdict).toBe('same');
    expect(noted(imported, 'pretrain_internvl.py')[0]?.verdict).toBe('same');
    // The class that pretrain_internvl.py trains has no dynamic scaling: what the user's file asks for is said to be lost.
    expect(noted(imported, 'text_decoder.rope_scaling')[0]?.verdict).toBe('not carried');
  });
});

describe('what a script may ask of MindSpeed MM beyond the published one', () => {
  const imported = accepted(
    request({
      'finetune_internvl3_8B.sh': [
        [
          '--swiglu',
          '--swiglu --virtual-pipeline-model-parallel-size 2 --use-fused-rmsnorm --use-fused-swiglu --overlap-grad-reduce --calculate-per-token-loss --use-deter-comp',
        ],
        ['--use-distributed-optimizer', '--use-flash-attn'],
      ],
      'model_8B.json': [
        ['[6, 8, 8, 6]', '[[1, 3, 4, 4], [4, 4, 4, 4]]'],
        ['[24, 0, 0, 0]', '[[24, 0, 0, 0], [0, 0, 0, 0]]'],
        [
          '"num_query_groups"',
          '"recompute_granularity": "full", "recompute_method": "block", "recompute_num_layers": 2, "num_query_groups"',
        ],
      ],
      'data_8B.json': [['BaseRandomBatchSampler"', 'BucketBatchSampler", "priority_mode": "data_reordering_img"']],
    }),
  );

  test('becomes fields of the spec', () => {
    expect(imported.document['runtime']).toEqual({
      kind: 'ascend',
      mindspeedRelease: '2.2.0',
      dataBuckets: 'accuracy',
      deterministic: true,
      distributedOptimizer: false,
      fusedOperators: ['rmsnorm', 'swiglu'],
      lossPer: 'token',
      overlapGradientReduce: true,
      recompute: { language: { method: 'block', layers: 2 } },
    });
    expect(imported.document['layout']).toMatchObject({
      virtualPipeline: {
        visionLayersPerStage: [
          [24, 0, 0, 0],
          [0, 0, 0, 0],
        ],
        languageLayersPerStage: [
          [1, 3, 4, 4],
          [4, 4, 4, 4],
        ],
      },
    });
  });

  test('and the plan passes the same, so nothing is left that could not be carried', () => {
    expect(imported.entries.filter(({ verdict }) => verdict === 'not carried')).toEqual([]);
    expect(noted(imported, '--virtual-pipeline-model-parallel-size 2')[0]?.verdict).toBe('same');
  });
});

describe('refusals name flag, line and remedy', () => {
  test.each<[string, ImportRequest, string]>([
    [
      'hosts counted by a command',
      request({}, { hostfile: undefined }),
      `--nnodes (line ${String(lineOf('--nnodes'))}) is "$(wc -l < $HOSTFILE)": it must be known, but NNODES is made by $(wc -l < $HOSTFILE), which is not run. Give the file that lists your hosts, one address a line, with --hostfile.`,
    ],
    [
      'a host file that contradicts',
      sh(['NNODES=$(wc -l < $HOSTFILE)', 'NNODES=2']),
      `--nnodes (line ${String(lineOf('--nnodes'))}) is "2": it must be 4, the lines of ${FOLDER}/hostfile.txt. Correct one of the two, or leave out --hostfile.`,
    ],
    [
      'a decay that a spec has not',
      sh(['decay-style cosine', 'decay-style WSD']),
      `--lr-decay-style (line ${String(lineOf('decay-style'))}) is "WSD": it must be cosine or constant. Set it to one of cosine, constant.`,
    ],
    [
      'a number that is none',
      sh(['--lr 2e-5', '--lr fast']),
      `--lr (line ${String(lineOf('--lr 2e-5'))}) is "fast": it must be a number.`,
    ],
    [
      'a missing flag',
      sh(['    --train-iters 5000 \\\n', '']),
      '--train-iters is missing: it must be given. Add --train-iters to the script.',
    ],
    [
      'stages that do not fit the file',
      sh(['PP=4', 'PP=2'], ['ACC_STEP=64', 'ACC_STEP=32']),
      `--pipeline-model-parallel-size (line ${String(lineOf('--pipeline'))}) is "2": it must be 4, the number of stages in pipeline_num_layers of model.json.`,
    ],
    [
      'numbers of adapters that MindSpeed MM would not put on',
      sh(['--swiglu', '--swiglu --lora-r 8']),
      `--lora-r (line ${String(lineOf('--swiglu'))}) is "8": it must go with --lora-target-modules: by that alone MindSpeed MM switches LoRA on, and this script trains all weights. Add it, or remove this.`,
    ],
    [
      'adapters on a layer that no spec knows',
      sh(['--swiglu', '--swiglu --lora-target-modules linear_qkv to_k']),
      `--lora-target-modules (line ${String(lineOf('--swiglu'))}) is "to_k": it must be one of linear_qkv, linear_proj, linear_fc1, linear_fc2.`,
    ],
    [
      'virtual stages in one tower alone',
      request({ 'model_8B.json': [['[6, 8, 8, 6]', '[[3, 4, 4, 3], [3, 4, 4, 3]]']] }),
      'image_encoder.vision_encoder.pipeline_num_layers is [24,0,0,0]: it must be one list for each virtual stage, as it is in the other tower',
    ],
    [
      'the flag of an older guide, which 2.2.0 raises on',
      sh(['--swiglu', '--swiglu --num-layers-per-virtual-pipeline-stage 4']),
      `--num-layers-per-virtual-pipeline-stage (line ${String(lineOf('--swiglu'))}) is "4": it must be left out: MindSpeed MM 2.2.0 itself raises on it as deprecated. Use --virtual-pipeline-model-parallel-size N`,
    ],
    [
      'recomputing by halves',
      request({
        'model_8B.json': [['"num_query_groups"', '"recompute_granularity": "selective", "num_query_groups"']],
      }),
      'model_8B.json: text_decoder.recompute_granularity is "selective": it must be full',
    ],
    [
      'layers that do not add up',
      request({ 'model_8B.json': [['[6, 8, 8, 6]', '[6, 8, 8, 8]']] }),
      'model_8B.json: text_decoder.pipeline_num_layers is [6,8,8,8]',
    ],
    [
      'another family',
      request({ 'model_8B.json': [['"InternVL3"', '"InternVL2"']] }),
      'model_8B.json: model_id is "InternVL2": it must be InternVL3',
    ],
    [
      'a model file that is not there',
      sh(['model_8B.json', 'model_9B.json']),
      `--mm-model (line ${String(lineOf('--mm-model'))}) is `,
    ],
    [
      'a file that is no JSON',
      request({ 'data_8B.json': [['{', '{ // rows']] }),
      `--mm-data (line ${String(lineOf('--mm-data'))}) is `,
    ],
    ['no launch', sh(['torchrun $DIST', 'echo $DIST']), 'torchrun is missing: it must stand in the script once'],
    [
      'a launch in a block',
      sh(['torchrun $DIST', 'if true; then\ntorchrun $DIST'], ['nccl \\\n', 'nccl; fi \\\n']),
      `torchrun (line ${String(lineOf('torchrun'))}) is `,
    ],
    [
      'two launches',
      sh(['chmod 440', 'torchrun $DISTRIBUTED_ARGS pretrain_vlm.py\nchmod 440']),
      'torchrun (line 105) is "a second one"',
    ],
    [
      'another program',
      sh(['pretrain_vlm.py', 'pretrain_sora.py']),
      'the program of torchrun (line 99) is "pretrain_sora.py": it must be pretrain_vlm.py or pretrain_internvl.py.',
    ],
    [
      'a quote without an end',
      sh(['MM_TOOL="', 'MM_TOOL=']),
      'it must be a whole script, but the quote that begins here has no end',
    ],
  ])('%s', (_, one, message) => {
    expect(refused(one).join('\n')).toContain(message);
  });

  test('what one unknown variable leaves unknown is refused once', () => {
    expect(refused(request({}, { hostfile: undefined }))).toHaveLength(1);
  });
});

test('adapters are carried, with the numbers that MindSpeed MM takes where the script says none, and the spec plans', () => {
  const lora = '--swiglu --lora-target-modules linear_proj linear_qkv --lora-r 32 --load-base-model ckpt';
  const imported = accepted(sh(['--swiglu', lora]));
  expect(imported.document['model']).toMatchObject({
    lora: { targets: ['linear_proj', 'linear_qkv'], rank: 32, alpha: 16, dropout: 0 },
  });
  const line = lineOf('--swiglu');
  expect(noted(imported, '--lora-r')).toEqual([{ line, verdict: 'carried', note: 'model.lora.rank: 32' }]);
  expect(noted(imported, '--lora-alpha')).toEqual([
    { line: undefined, verdict: 'carried', note: 'model.lora.alpha: 16' },
  ]);
  expect(noted(imported, '--load-base-model')).toMatchObject([{ line, verdict: 'dropped' }]);
});

test.each([
  ['rows', '/data/internvl/playground/opensource/ai2d_train_12k.jsonl', '/path/json_path'],
  ['images', '/data/internvl/playground/data/ai2d/', '/path/root_path'],
])('a path of the published data.json that nobody has set is refused as such: %s', (_, mine, published) => {
  const one = request({ 'data_8B.json': [[`"${mine}"`, `"${published}"`]] });
  expect(refused(one)).toEqual([
    `data_8B.json: dataset_param.basic_parameters is "${published}": it must name your own rows and images; this path is the one of the published file, which stands for them. Put in data_path (the file of rows) and data_folder (the folder of images), as for a training by hand.`,
  ]);
});

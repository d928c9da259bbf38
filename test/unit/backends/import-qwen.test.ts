/** `anneal import` of Qwen2.5-VL: the script is written to the published one's description, model.json and data.json are ours, which the digests hold to theirs. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { describe, expect, test } from 'vitest';
import { composePlan } from '../../../src/backends/compose-plan.js';
import {
  type Imported,
  importScript,
  type ImportRequest,
} from '../../../src/backends/mindspeed/import/import-script.js';
import { fillJson } from '../../../src/plan/plan.js';
import { parseSpec } from '../../../src/spec/parse.js';
import { showRefusal } from '../../../src/spec/refusal.js';
import type { RunSpecInput } from '../../../src/spec/run.js';
import { publishedQwenInput, QWEN_LAYOUTS, specOf } from './specs.js';

const cwd = fileURLToPath(new URL('../../fixtures/import', import.meta.url));
const SCRIPT = 'examples/qwen2.5vl/finetune_qwen2_5_vl_7b.sh';
const script = readFileSync(join(cwd, SCRIPT), 'utf8');

/** As the published files have their paths. */
function fileOf(path: string, input: RunSpecInput = publishedQwenInput): string {
  const composed = composePlan(specOf(input));
  if (!('plan' in composed)) throw new Error(JSON.stringify(composed.refusals));
  const content = composed.plan.stages.train.files.find((one) => one.path === path)?.content ?? null;
  const filled = fillJson(content, { dataset: './set', work: './data', baseModel: './ckpt/hf_path/Qwen' });
  return JSON.stringify(filled).replace('./set/images', './data').replace('./set/train.jsonl', './data/mllm.json');
}

function request(
  replace: Readonly<Record<string, readonly (readonly [string, string])[]>> = {},
  more: Partial<ImportRequest> = {},
): ImportRequest {
  const files: Readonly<Record<string, string>> = {
    'finetune_qwen2_5_vl_7b.sh': script,
    'model_7b.json': fileOf('model.json'),
    'data_7b.json': fileOf('data.json'),
  };
  const read = (path: string): string | undefined => {
    const name = path.replace(/^.*\//, '');
    return (replace[name] ?? []).reduce((text, [from, to]) => {
      if (text?.includes(from) !== true) throw new Error(`${name} does not hold ${from}`);
      return text.replace(from, () => to);
    }, files[name]);
  };
  return { scriptFile: SCRIPT, cwd, read, begins: () => undefined, isFile: () => false, ...more };
}

function accepted(one: ImportRequest): Imported {
  const imported = importScript(one);
  if ('refusals' in imported) throw new Error(imported.refusals.map(showRefusal).join('\n'));
  return imported;
}
const told = ({ entries }: Imported, verdict: string): string[] =>
  entries.filter((entry) => entry.verdict === verdict).map(({ what, note }) => `${what}: ${note}`);

describe('the published script of the 7B', () => {
  const imported = accepted(request());

  test('becomes the spec of the published fine-tune, and that spec plans', () => {
    const parsed = parseSpec(stringify(imported.document), { fileName: join(cwd, 'run.yaml') });
    if ('refusals' in parsed) throw new Error(parsed.refusals.map(showRefusal).join('\n'));
    const { training, layout, model, runtime } = parsed.spec;
    expect(training).toMatchObject(publishedQwenInput.training);
    expect(layout).toMatchObject(publishedQwenInput.layout);
    expect(model).toMatchObject({
      family: 'qwen2.5-vl',
      preset: 'qwen2.5-vl-7b',
      freeze: ['vision', 'projector'],
      trustRemoteCode: false,
      source: { uri: new URL(`file://${cwd}/ckpt/hf_path/Qwen`).href },
    });
    expect(runtime).toEqual({ kind: 'ascend', mindspeedRelease: '2.2.0' });
    expect(composePlan(parsed.spec)).toHaveProperty('plan');
  });

  test('loses nothing on the way', () => {
    expect(told(imported, 'not carried')).toEqual([]);
    expect(told(imported, 'same').filter((line) => line.startsWith('--')).length).toBeGreaterThan(15);
    expect(told(imported, 'carried')).toContain('--lr-warmup-fraction 0.1: training.warmupIterations: 1000');
    expect(imported.entries.filter(({ what }) => what.startsWith('--lr-warmup'))).toHaveLength(1);
  });

  test('its rows become a meta JSON, whose images start from dataset_dir', () => {
    expect(imported.meta).toEqual({
      path: join(cwd, 'data/anneal-import.json'),
      content: { mllm: { root: '.', annotation: 'mllm.json', repeat_time: 1 } },
    });
  });
});

describe('other scripts of the family', () => {
  test('images that lie where the script is started, as its own tool writes them, are looked for there', () => {
    const imported = accepted(
      request(
        {},
        {
          begins: () => '[{"images": ["./data/COCO2017/train2017/1.jpg"], "messages": [',
          isFile: (path) => path === join(cwd, 'data/COCO2017/train2017/1.jpg'),
        },
      ),
    );
    expect(imported.meta).toEqual({
      path: join(cwd, 'anneal-import.json'),
      content: { mllm: { root: '.', annotation: 'data/mllm.json', repeat_time: 1 } },
    });
  });

  test('several files of rows are several sets', () => {
    const imported = accepted(
      request({ 'data_7b.json': [['./data/mllm.json', './data/mllm.json,./data/more/mllm.json']] }),
    );
    expect(Object.keys(imported.meta?.content ?? {})).toEqual(['mllm', 'mllm-2']);
  });

  test('operators that are fused otherwise than as published are carried', () => {
    const imported = accepted(
      request({
        'finetune_qwen2_5_vl_7b.sh': [['    --use-fused-swiglu \\\n', '']],
        'model_7b.json': [['"use_fused_rotary_pos_emb":true', '"use_fused_rotary_pos_emb":false']],
      }),
    );
    expect(imported.document['runtime']).toMatchObject({ fusedOperators: ['rmsnorm', 'rotary'] });
    // The file has one such key for each tower, a spec one word for both.
    expect(told(imported, 'not carried')).toEqual([
      'image_encoder.vision_encoder.use_fused_rotary_pos_emb: false: Anneal writes true.',
    ]);
  });

  test('the 72B keeps swapping attention', () => {
    const large: RunSpecInput = {
      ...publishedQwenInput,
      model: { ...publishedQwenInput.model, preset: 'qwen2.5-vl-72b' },
      layout: QWEN_LAYOUTS['qwen2.5-vl-72b'],
    };
    const imported = accepted(
      request({
        'finetune_qwen2_5_vl_7b.sh': [
          ['PP=2', 'PP=8'],
          ['TP=1', 'TP=2'],
          ['NPUS_PER_NODE=8', 'NPUS_PER_NODE=16'],
          ['NNODES=1', 'NNODES=4'],
          ['--use-flash-attn \\', '--use-flash-attn \\\n    --swap-attention \\'],
        ],
        'model_7b.json': [[fileOf('model.json'), fileOf('model.json', large)]],
      }),
    );
    expect(imported.document['model']).toMatchObject({ preset: 'qwen2.5-vl-72b' });
    expect(told(imported, 'same')).toContain('--swap-attention: Anneal passes the same.');
  });

  test('a warm-up that is no number is refused', () => {
    const imported = importScript(request({ 'finetune_qwen2_5_vl_7b.sh': [['fraction 0.1', 'fraction some']] }));
    expect('refusals' in imported ? imported.refusals.map(showRefusal) : []).toEqual([
      expect.stringContaining('--lr-warmup-fraction'),
    ]);
  });

  test('sizes of no published model are refused, for a spec has no words for them', () => {
    const imported = importScript(
      request({ 'model_7b.json': [['"ffn_hidden_size":18944', '"ffn_hidden_size":9472']] }),
    );
    expect('refusals' in imported ? imported.refusals.map(showRefusal) : []).toEqual([
      expect.stringContaining('it must be those of qwen2.5-vl-3b, qwen2.5-vl-7b, qwen2.5-vl-32b, qwen2.5-vl-72b'),
    ]);
  });
});

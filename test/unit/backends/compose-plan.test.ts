import { describe, expect, test } from 'vitest';
import { composePlan } from '../../../src/backends/compose-plan.js';
import { showArgument } from '../../../src/plan/plan.js';
import type { CommandPlan, Plan } from '../../../src/plan/plan.js';
import { RunSpec, type RunSpecInput } from '../../../src/spec/run.js';
import { demoInput, publishedInput, specOf } from './specs.js';

function planOf(input: RunSpecInput): Plan {
  const composed = composePlan(specOf(input));
  if (!('plan' in composed)) throw new Error(JSON.stringify(composed.refusals));
  return composed.plan;
}
const show = ({ program, args }: CommandPlan): string => [program, ...args.map(showArgument)].join(' ');

describe('the plan of the demo', () => {
  const plan = planOf(demoInput);

  test('converts hf -> mm on one stage -> one folder per tower', () => {
    expect(plan.stages.convert.commands.map(show)).toEqual([
      'mm-convert InternVLConverter hf_to_mm --cfg.mm_dir {work}/mm --cfg.hf_config.hf_dir {baseModel}' +
        ' --cfg.parallel_config.llm_pp_layers [[2]] --cfg.parallel_config.vit_pp_layers [[2]] --cfg.parallel_config.tp_size 1',
      'python -m anneal_trainer.dist_train_convert mm_to_dt --load-dir {work}/mm --save-dir {work}/converted' +
        ' --target-vit-pp-layers [2] --target-gpt-pp-layers [2]',
    ]);
  });

  test('publishes dt -> mm -> hf with one-dimensional lists', () => {
    expect(plan.stages.publish.commands.map(show)).toEqual([
      'python -m anneal_trainer.dist_train_convert dt_to_mm --load-dir {trained} --save-dir {work}/mm' +
        ' --target-vit-pp-layers [2] --target-gpt-pp-layers [2] --hf-dir {baseModel}',
      'mm-convert InternVLConverter mm_to_hf --cfg.save_hf_dir {work}/published --cfg.mm_dir {work}/mm' +
        ' --cfg.hf_config.hf_dir {baseModel} --cfg.parallel_config.llm_pp_layers [2] --cfg.parallel_config.vit_pp_layers [2]' +
        ' --cfg.parallel_config.tp_size 1',
    ]);
  });

  test('trains with this exact command on every host', () => {
    expect(plan.stages.train.commands.map(show)).toEqual([
      'torchrun --nproc_per_node 1 --nnodes 2 --node_rank {nodeRank} --master_addr {masterAddress} --master_port {masterPort}' +
        ' {trainerHome}/pretrain_internvl.py' +
        ' --tensor-model-parallel-size 1 --pipeline-model-parallel-size 2 --context-parallel-size 1' +
        ' --micro-batch-size 32 --global-batch-size 64 --seq-length 48 --tokenizer-type NullTokenizer --vocab-size 384' +
        ' --swiglu --no-masked-softmax-fusion --normalization RMSNorm --variable-seq-lengths' +
        ' --position-embedding-type rope --rotary-base 10000 --dist-train' +
        ' --lr 0.003 --min-lr 0 --train-iters 300 --lr-decay-style cosine --lr-warmup-iters 20 --weight-decay 0.05' +
        ' --clip-grad 1 --adam-beta1 0.9 --adam-beta2 0.999 --seed 1234 --no-gradient-accumulation-fusion' +
        ' --use-distributed-optimizer --mm-data {work}/data.json --mm-model {work}/model.json' +
        ' --load {load} --save {save} --ckpt-format torch --save-interval 20 --exit-on-missing-checkpoint' +
        ' --exit-signal-handler --log-interval 1 --eval-interval 300 --eval-iters 300' +
        ' --num-workers 0 --die-with-parent --metrics-file {work}/metrics.jsonl --distributed-backend gloo',
    ]);
    expect(plan.stages.train.commands[0]?.cwd).toEqual({ hole: 'work' });
  });

  test('checks the data before and judges base and result after, on the same held-out rows', () => {
    expect([...plan.stages.prepare.commands, ...plan.stages.evaluate.commands].map(show)).toEqual([
      'python -m anneal_trainer.prepare --source {sourceData} --tokenizer {baseModel} --out {work}/dataset --seq-length 48' +
        ' --image-tokens 4 --heldout-fraction 0.2 --seed 1234 --max-bad-rows 0 --report {work}/report.json',
      'python -m anneal_trainer.evaluate --model {baseModel} --data {dataset}/heldout.jsonl --images {dataset}/images' +
        ' --out {work}/base.json',
      'python -m anneal_trainer.evaluate --model {published} --data {dataset}/heldout.jsonl --images {dataset}/images' +
        ' --out {work}/tuned.json',
    ]);
  });

  test('names what each stage reads, in the order of its key', () => {
    expect(Object.values(plan.stages).map(({ stage, inputs }) => [stage, ...inputs])).toEqual([
      ['fetch'],
      ['convert', 'model'],
      ['prepare', 'data', 'model'],
      ['train', 'converted', 'dataset', 'model'],
      ['publish', 'checkpoint', 'model'],
      ['evaluate', 'model', 'published', 'dataset'],
    ]);
  });

  test('tells the gang its shape, its saves and the node that reports', () => {
    const { ranks, checkpointFiles, releaseFiles, ...gang } = plan.gang;
    expect(gang).toEqual({
      hosts: 2,
      npusPerHost: 1,
      worldSize: 2,
      reportingNode: 1,
      iterations: 300,
      saveEveryIterations: 20,
      keepCheckpoints: 2,
    });
    expect([ranks.length, checkpointFiles.length, releaseFiles.length]).toEqual([2, 4, 2]);
  });

  test('is plain JSON: it survives being stored', () => {
    expect(JSON.parse(JSON.stringify(plan))).toEqual(plan);
  });
});

describe('options of the data and of judging', () => {
  test('limits and a meta file reach the commands, and nothing is said of what is left out', () => {
    const plan = planOf({
      ...demoInput,
      data: { ...demoInput.data, meta: 'meta.json', maximumRows: 500, maximumBadRows: 3 },
      evaluation: { maximumSamples: 100, heldOutFraction: 0.1 },
    });
    const prepare = show(plan.stages.prepare.commands[0] as CommandPlan);
    expect(prepare).toContain('--meta {sourceData}/meta.json --tokenizer');
    expect(prepare).toContain('--heldout-fraction 0.1 --seed 1234 --max-bad-rows 3 --limit 500');
    expect(plan.stages.evaluate.commands.every((command) => show(command).endsWith('--limit 100'))).toBe(true);
  });
});

describe('stage parameters', () => {
  const changed = (change: Partial<RunSpecInput>): string[] => {
    const before = planOf(demoInput).stages;
    const after = planOf({ ...demoInput, ...change }).stages;
    return Object.values(before)
      .filter(({ stage, parameters }) => JSON.stringify(parameters) !== JSON.stringify(after[stage].parameters))
      .map(({ stage }) => stage);
  };

  test('a changed training value changes the key of training alone', () => {
    expect(changed({ training: { ...demoInput.training, learningRate: 0.002 } })).toEqual(['train']);
    expect(changed({ training: { ...demoInput.training, seed: 7 } })).toEqual(['train']);
  });

  test('what changes no result changes no key', () => {
    expect(changed({ checkpoint: { everyIterations: 50, keep: 5 } })).toEqual([]);
    expect(changed({ name: 'other', publish: { model: 'other' } })).toEqual([]);
    expect(changed({ evaluation: { minimumAccuracy: 0.5 } })).toEqual([]);
    expect(
      changed({ layout: { hosts: 1, npusPerHost: 2, distTrain: { vision: { npus: 1 }, language: { npus: 1 } } } }),
    ).toEqual([]);
  });

  test('another layout re-converts, re-trains and publishes anew', () => {
    expect(changed({ layout: { hosts: 1, npusPerHost: 1 } })).toEqual(['convert', 'train', 'publish']);
  });

  test('a changed split or longer sequence re-prepares', () => {
    expect(changed({ evaluation: { heldOutFraction: 0.3 } })).toEqual(['prepare']);
    expect(changed({ training: { ...demoInput.training, sequenceLength: 64 } })).toEqual(['prepare', 'train']);
  });

  test('a frozen tower changes training alone; a pinned revision changes fetching alone', () => {
    expect(changed({ model: { ...demoInput.model, freeze: ['vision'] } })).toEqual(['train']);
    expect(changed({ data: { source: { uri: 'file:///data/digits', revision: '2' } } })).toEqual(['fetch']);
  });

  test('adapters are another training and another way to publish; the order of their layers is none', () => {
    const model = (...targets: NonNullable<NonNullable<RunSpecInput['model']['lora']>['targets']>) => ({
      model: { ...demoInput.model, lora: { rank: 4, alpha: 8, targets } },
    });
    expect(changed(model('linear_qkv'))).toEqual(['train', 'publish']);
    const [one, other] = [model('linear_qkv', 'linear_fc1'), model('linear_fc1', 'linear_qkv', 'linear_fc1')].map(
      (change) => planOf({ ...demoInput, ...change }).stages,
    );
    expect(one).toEqual(other);
  });
});

describe('the plan of InternVL3-8B on Ascend', () => {
  test('converts as the README says and publishes with the training layout', () => {
    const { convert, publish } = planOf(publishedInput).stages;
    expect(convert.commands.map(show)).toEqual([
      'mm-convert InternVLConverter hf_to_mm --cfg.mm_dir {work}/converted --cfg.hf_config.hf_dir {baseModel}' +
        ' --cfg.parallel_config.llm_pp_layers [[6,8,8,6]] --cfg.parallel_config.vit_pp_layers [[24,0,0,0]]' +
        ' --cfg.parallel_config.tp_size 1',
    ]);
    expect(convert.commands[0]?.stdin).toBe('y\n');
    expect(publish.commands.map(show)).toEqual([
      'mm-convert InternVLConverter mm_to_hf --cfg.save_hf_dir {work}/published --cfg.mm_dir {trained}' +
        ' --cfg.hf_config.hf_dir {baseModel} --cfg.parallel_config.llm_pp_layers [6,8,8,6]' +
        ' --cfg.parallel_config.vit_pp_layers [24,0,0,0] --cfg.parallel_config.tp_size 1',
    ]);
  });

  test('is refused without the consent that the converter asks for on its standard input', () => {
    const composed = composePlan(
      RunSpec.parse({ ...publishedInput, model: { ...publishedInput.model, trustRemoteCode: false } }),
    );
    expect('refusals' in composed && composed.refusals.map(({ path }) => path)).toEqual(['model.trustRemoteCode']);
  });

  test('gives each Dist-train tower its own tensor size in the second conversion only', () => {
    const { convert } = planOf({
      ...publishedInput,
      layout: {
        hosts: 1,
        npusPerHost: 6,
        distTrain: { vision: { npus: 2, tensorParallel: 2 }, language: { npus: 4, layersPerStage: [7, 7, 7, 7] } },
      },
    }).stages;
    expect(convert.commands.map(show)).toEqual([
      expect.stringMatching(/llm_pp_layers \[\[28\]\] .*vit_pp_layers \[\[24\]\] .*tp_size 1$/) as string,
      'python -m anneal_trainer.dist_train_convert mm_to_dt --load-dir {work}/mm --save-dir {work}/converted' +
        ' --target-vit-pp-layers [24] --target-gpt-pp-layers [7,7,7,7] --target-vit-tp-size 2 --target-gpt-tp-size 1' +
        ' --hf-dir {baseModel}',
    ]);
  });
});

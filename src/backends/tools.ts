/** Commands that both runtimes share: checking the data before training, judging models after it. */
import type { Argument, CommandPlan } from '../plan/plan.js';
import type { Job } from './mindspeed/job.js';

/** Of the split alone: another training seed must not move images between training and judging. */
export const SPLIT_SEED = 1234;

export function prepareCommand(job: Job): CommandPlan {
  const { data, evaluation, training } = job.spec;
  return python(job, 'anneal_trainer.prepare', [
    '--source',
    { hole: 'sourceData' },
    ...(data.meta === undefined ? [] : ['--meta', { hole: 'sourceData', then: `/${data.meta}` } as const]),
    '--tokenizer',
    { hole: 'baseModel' },
    '--out',
    { hole: 'work', then: '/dataset' },
    '--seq-length',
    String(training.sequenceLength),
    ...job.model.preparing(job.spec).args,
    '--heldout-fraction',
    String(evaluation.heldOutFraction),
    '--seed',
    String(SPLIT_SEED),
    '--max-bad-rows',
    String(data.maximumBadRows),
    ...(data.maximumRows === 0 ? [] : ['--limit', String(data.maximumRows)]),
    '--report',
    { hole: 'work', then: '/report.json' },
  ]);
}

/** First the base, then the result, on the same held-out rows. */
export function evaluateCommands(job: Job): readonly CommandPlan[] {
  return [evaluate(job, { hole: 'baseModel' }, '/base.json'), evaluate(job, { hole: 'published' }, '/tuned.json')];
}

function evaluate(job: Job, model: Argument, result: string): CommandPlan {
  const limit = job.spec.evaluation.maximumSamples;
  return python(job, 'anneal_trainer.evaluate', [
    '--model',
    model,
    '--data',
    { hole: 'dataset', then: '/heldout.jsonl' },
    '--images',
    { hole: 'dataset', then: '/images' },
    '--out',
    { hole: 'work', then: result },
    ...job.model.judging,
    ...(limit === 0 ? [] : ['--limit', String(limit)]),
  ]);
}

function python(job: Job, module: string, args: readonly Argument[]): CommandPlan {
  return { program: 'python', args: ['-m', module, ...args], env: job.profile.toolEnvironment, cwd: { hole: 'work' } };
}

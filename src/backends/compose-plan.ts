/** From a spec to the whole plan, or to every reason why it cannot work; nothing is started and nothing is looked up. */
import { checkpointFiles, releaseFiles } from '../plan/checkpoint-files.js';
import { checkLayout } from '../plan/layout-rules.js';
import { ranksOf, reportingNode } from '../plan/layout.js';
import type { GangPlan, Plan, StageName, StagePlan } from '../plan/plan.js';
import type { Refusal } from '../spec/refusal.js';
import type { RunSpec } from '../spec/run.js';
import { hasDistributedOptimizer } from '../spec/runtime.js';
import { jobOf } from './job-of.js';
import { trainCommand } from './mindspeed/arguments.js';
import { convertCommands, publishCommands } from './mindspeed/convert.js';
import type { Job } from './mindspeed/job.js';
import { untrained } from './mindspeed/lora.js';
import { checkModel } from './model-rules.js';
import { stageParameters } from './stage-parameters.js';
import { evaluateCommands, prepareCommand } from './tools.js';

export type Composed = { readonly plan: Plan } | { readonly refusals: readonly Refusal[] };

export function composePlan(spec: RunSpec): Composed {
  const job = jobOf(spec);
  const refusals = [
    ...checkModel(job),
    ...checkLayout({
      layout: job.layout,
      dimensions: job.model.dimensions,
      freeze: untrained(spec.model),
      globalBatchSize: spec.training.globalBatchSize,
      microBatchSize: spec.training.microBatchSize,
      sequenceLength: spec.training.sequenceLength,
    }),
    ...job.profile.refusals(job),
  ];
  return refusals.length > 0 ? { refusals } : { plan: planOf(job) };
}

function planOf(job: Job): Plan {
  const { spec } = job;
  return {
    version: 1,
    name: spec.name,
    runtime: spec.runtime.kind,
    gang: gangOf(job),
    stages: stagesOf(job),
    gate: { minimumAccuracy: spec.evaluation.minimumAccuracy },
    publishAs: spec.publish.model,
    ...(spec.limits === undefined ? {} : { limits: spec.limits }),
  };
}

function gangOf({ spec, layout }: Job): GangPlan {
  return {
    hosts: layout.hosts,
    npusPerHost: layout.npusPerHost,
    worldSize: layout.worldSize,
    ranks: ranksOf(layout),
    checkpointFiles: checkpointFiles(layout, { distributedOptimizer: hasDistributedOptimizer(spec.runtime) }),
    releaseFiles: releaseFiles(layout),
    reportingNode: reportingNode(layout),
    iterations: spec.training.iterations,
    saveEveryIterations: spec.checkpoint.everyIterations,
    keepCheckpoints: spec.checkpoint.keep,
  };
}

function stagesOf(job: Job): Readonly<Record<StageName, StagePlan>> {
  const parameters = stageParameters(job);
  const stage = (name: StageName, rest: Partial<StagePlan>): StagePlan => ({
    stage: name,
    inputs: [],
    parameters: parameters[name],
    files: [],
    commands: [],
    ...rest,
  });
  return {
    // The agent fetches by itself: transfers that resume need no program.
    fetch: stage('fetch', {}),
    convert: stage('convert', {
      inputs: job.spec.training.initFrom === undefined ? ['model'] : ['model', 'start'],
      commands: convertCommands(job),
    }),
    prepare: stage('prepare', { inputs: ['data', 'model'], commands: [prepareCommand(job)] }),
    train: stage('train', {
      inputs: ['converted', 'dataset', 'model'],
      files: [
        { path: 'model.json', content: job.model.modelJson(job) },
        { path: 'data.json', content: job.model.dataJson(job) },
      ],
      commands: [trainCommand(job)],
    }),
    publish: stage('publish', {
      inputs: job.spec.model.lora === undefined ? ['checkpoint', 'model'] : ['checkpoint', 'converted', 'model'],
      commands: publishCommands(job),
    }),
    evaluate: stage('evaluate', { inputs: ['model', 'published', 'dataset'], commands: evaluateCommands(job) }),
  };
}

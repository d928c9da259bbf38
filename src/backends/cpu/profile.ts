/** The CPU runtime: the same contract on this machine's processors, and what its trainer leaves to real NPUs. */
import { tensorPath } from '../../plan/split-rules.js';
import type { Argument } from '../../plan/plan.js';
import type { Refusal } from '../../spec/refusal.js';
import type { Question, RuntimeProfile } from '../mindspeed/job.js';

const python: Readonly<Record<string, Argument>> = {
  PYTHONPATH: { hole: 'trainerHome' },
  PYTHONUNBUFFERED: '1',
  // One thread a process: the sums of the matrix products then come in one order, so the bits repeat.
  OMP_NUM_THREADS: '1',
};

export const cpuProfile: RuntimeProfile = {
  kind: 'cpu',
  release: 'anneal-trainer-1',
  precision: 'fp32',
  distributedBackend: 'gloo',
  trainingFolder: { hole: 'work' },
  trainingEnvironment: python,
  toolEnvironment: { ...python, PYTHONPATH: { hole: 'toolsHome' } },
  dataWorkers: 0,
  deviceFlags: [
    // torchrun's workers sit in sessions of their own and would outlive it.
    '--die-with-parent',
    '--metrics-file',
    { hole: 'work', then: '/metrics.jsonl' },
  ],
  refusals,
};

function refusals({ spec, layout }: Question): readonly Refusal[] {
  const found: Refusal[] = [];
  for (const tower of layout.distTrain ? (['vision', 'language'] as const) : (['language'] as const))
    if (layout[tower].tensorParallel > 1)
      found.push({
        path: tensorPath(layout, tower),
        value: layout[tower].tensorParallel,
        rule: 'must be 1 with runtime.kind "cpu", whose trainer splits layers and data but no tensors',
        remedy: 'Set it to 1, or use more pipeline stages.',
      });
  if (layout.language.contextParallel > 1)
    found.push({
      path: 'layout.contextParallel',
      value: spec.layout.contextParallel,
      rule: 'must be 1 with runtime.kind "cpu", whose trainer keeps each sequence whole',
      remedy: 'Set it to 1.',
    });
  if (layout.virtualStages > 1)
    found.push({
      path: 'layout.virtualPipeline',
      value: spec.layout.virtualPipeline,
      rule: 'must be left out with runtime.kind "cpu", whose trainer gives each rank one stage',
      remedy: 'Use visionLayersPerStage and languageLayersPerStage.',
    });
  if (spec.data.maximumTiles !== undefined && spec.data.maximumTiles > 1)
    found.push({
      path: 'data.maximumTiles',
      value: spec.data.maximumTiles,
      rule: 'must be 1 with runtime.kind "cpu", whose trainer sees each image as one tile',
      remedy: 'Leave it out.',
    });
  const { lora } = spec.model;
  if (lora !== undefined && lora.dropout > 0)
    found.push({
      path: 'model.lora.dropout',
      value: lora.dropout,
      rule: 'must be 0 with runtime.kind "cpu", whose trainer drops nothing by chance',
      remedy: 'Leave it out.',
    });
  return found;
}

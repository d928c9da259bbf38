/** The smallest spec that can be planned; nothing of what it names need be there. */
import type { RunSpec, RunSpecInput } from '../../src/spec/run.js';
import { checkSpec } from '../../src/spec/check.js';

export const composableInput = (model: string, data = 'file:///data'): RunSpecInput => ({
  version: 1,
  name: 'test',
  model: { family: 'internvl3', preset: 'internvl3-tiny', source: { uri: 'file:///model' } },
  data: { source: { uri: data } },
  runtime: { kind: 'cpu' },
  layout: { hosts: 2, npusPerHost: 1, distTrain: { vision: { npus: 1 }, language: { npus: 1 } } },
  training: { iterations: 30, globalBatchSize: 64, microBatchSize: 32, sequenceLength: 48, learningRate: 0.003 },
  checkpoint: { everyIterations: 10 },
  publish: { model },
});

export function composable(model: string, data?: string): RunSpec {
  const checked = checkSpec(composableInput(model, data));
  if ('refusals' in checked) throw new Error(JSON.stringify(checked.refusals));
  return checked.spec;
}

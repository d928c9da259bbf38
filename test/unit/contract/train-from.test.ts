/** Where a retrain may begin: not in two places at once. */
import { expect, test } from 'vitest';
import { refuseTrainFrom, type TrainFrom } from '../../../src/contract/messages.js';
import type { RunSpec } from '../../../src/spec/run.js';
import { demoSpec } from '../../support/demo-plan.js';

const plain = demoSpec();
const begun: RunSpec = { ...plain, training: { ...plain.training, initFrom: { uri: 'file:///saves' } } };

test.each<[TrainFrom, RunSpec, string | undefined]>([
  ['base', plain, undefined],
  ['promoted', plain, undefined],
  ['base', begun, undefined],
  ['promoted', begun, 'take one of the two out'],
])('from %s', (from, spec, words) => {
  const refused = refuseTrainFrom(from, spec);
  if (words === undefined) expect(refused).toBeUndefined();
  else expect(refused).toContain(words);
});

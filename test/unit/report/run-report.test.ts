/** The report of a run, as text and as Markdown. */
import { describe, expect, test } from 'vitest';
import { duration } from '../../../src/plan/numbers.js';
import { jsonReport, markdownReport, type RunFacts, textReport } from '../../../src/report/run-report.js';
import { markdownTable } from '../../../src/report/table.js';

const facts: RunFacts = {
  state: {
    runId: 'digits-1',
    name: 'digits',
    cluster: 'dev',
    iterations: 300,
    outcome: 'promoted',
    stages: [
      { stage: 'fetch', status: 'reused', startedAt: 0, endedAt: 200, hosts: [], note: 'made by run digits-0' },
      { stage: 'train', status: 'done', startedAt: 200, endedAt: 60_200, hosts: ['host-a', 'host-b'], note: '' },
      { stage: 'evaluate', status: 'waiting', hosts: [], note: '' },
    ],
  },
  result: {
    ...{
      runId: 'digits-1',
      outcome: 'promoted',
      baseAccuracy: 0.1,
      accuracy: 0.968,
      weightsDigest: 'abc',
      promotion: 3,
      stages: [],
    },
    data: { fingerprint: 'f', at: 0 },
    published: { prefix: 'artifacts/x/', manifestKey: 'artifacts/x.json', digest: 'x' },
  },
  store: '/state/store',
  incidents: [
    {
      at: 0,
      generation: 1,
      host: 'host-a',
      failure: 'TrainerFailed',
      message: 'm',
      decision: 'again',
      iterationsLost: 7,
      evidence: 'runs/digits-1/incidents/000001/',
    },
  ],
};

const metrics: NonNullable<RunFacts['metrics']> = {
  key: 'runs/digits-1/metrics.jsonl',
  rows: [1, 2, 3, 4].map((iteration) => ({
    ...{ generation: iteration < 4 ? 1 : 2, iteration: Math.min(iteration, 3), loss: 3 - iteration / 2, gradNorm: 1 },
    ...{ learningRate: 0.003, consumedSamples: iteration * 64, seconds: 0.5, at: 0 },
    ...(iteration === 3 ? { rolledBackBy: 2 } : {}),
  })),
};

describe('the training in a report', () => {
  test('is its losses, its speed, what was rolled back, the curve, and where the record lies', () => {
    const report = textReport({ ...facts, metrics });
    expect(report).toMatch(/^training +3 iterations, loss 2\.500 at 1 and 1\.000 at 3, \d+ samples\/s$/m);
    expect(report).toMatch(/^rolled back +1 iterations of generation 1$/m);
    expect(report).toMatch(/^loss record +\/state\/store\/runs\/digits-1\/metrics\.jsonl$/m);
    expect(report).toMatch(/\n\nLoss:\n +2\.500 \|█\n[^]*\n +\^g2\n +1 3\n/);
    expect(markdownReport({ ...facts, metrics })).toMatch(/\n## Loss\n\n```\n +2\.500 \|█\n[^]*\n```\n/);
  });

  test('of a run that has reused it is the name of the run that trained', () => {
    const report = textReport({ ...facts, metrics: { rows: [], trainedBy: 'digits-0' } });
    expect(report).toMatch(/^training +that of run digits-0: anneal metrics digits-0$/m);
    expect(report).not.toContain('Loss:');
  });

  test('that cannot be read takes nothing else from the report', () => {
    const report = textReport({ ...facts, metricsTrouble: 'The store does not answer.' });
    expect(report).toMatch(/^training +not known: The store does not answer\.$/m);
    expect(report).toContain('weights      abc');
  });

  test('is a summary for a program, without the iterations', () => {
    expect(jsonReport({ ...facts, metrics })).toMatchObject({
      training: { iterations: 3, last: { iteration: 3, loss: 1 } },
    });
    expect(jsonReport({ ...facts, metrics })).not.toHaveProperty('metrics');
    expect(jsonReport(facts)).toEqual(facts);
  });
});

describe('textReport', () => {
  const report = textReport(facts);
  test('says outcome, accuracy before and after, digest, and where model and logs lie', () => {
    expect(report).toMatch(/^digits-1: promoted\n/);
    expect(report).toContain('accuracy     10.0 % before, 96.8 % after (held-out images)');
    expect(report).toContain('weights      abc');
    expect(report).toContain('model        /state/store/artifacts/x/');
    expect(report).toContain('logs         /state/store/runs/digits-1/logs/');
    expect(report).toContain('evidence     /state/store/runs/digits-1/incidents/');
    expect(report).toContain('promoted as  number 3');
  });

  test('has a line for each stage with its time, and what never ran has none', () => {
    expect(report).toContain('train     done     60 s   host-a, host-b  -');
    expect(report).toContain('evaluate  waiting  -      -               -');
  });

  test('a run that failed says why and claims no accuracy', () => {
    const { result: _, ...rest } = facts;
    const failed = textReport({ ...rest, state: { ...facts.state, outcome: 'failed' }, message: 'The disk is full.' });
    expect(failed).toMatch(/^why +The disk is full\.$/m);
    expect(failed).not.toContain('accuracy');
  });
});

describe('markdownReport', () => {
  test('holds the same as tables', () => {
    const report = markdownReport(facts);
    expect(report).toContain('| train | done | 60 s | host-a, host-b | - |');
    expect(report).toContain('| 1 | host-a | TrainerFailed | again | 7 |');
    expect(report).toContain('- **weights**: abc');
  });

  test('a note cannot break its table', () => {
    expect(markdownTable(['A'], [['x | y\nz']])).toBe('| A |\n| --- |\n| x \\| y z |');
  });
});

test.each([
  [0.04, '0.0 s'],
  [9.96, '10.0 s'],
  [59.6, '60 s'],
  [119.6, '2 min 0 s'],
  [185, '3 min 5 s'],
  [7_800, '2 h 10 min'],
])('%d seconds are shown as %s', (value, expected) => {
  expect(duration(value)).toBe(expected);
});

/**
 * The loss record of real trainings: bit for bit what the ranks have measured, continuous over a killed rank, the same as that of a run
 * which nobody disturbed.
 */
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { IterationMetrics, RunMetrics } from '../../src/client/index.js';
import { DevCluster } from '../support/dev-cluster.js';
import { commitsOf, forget, readLog } from '../support/run-files.js';
import { smallSpec, writeDigits } from '../support/small-run.js';
import { trainerFolder, trainersOf } from '../support/trainers.js';
import { until, within } from '../support/until.js';

const ITERATIONS = 80;
const LIMIT_MS = 240_000;

let cluster: DevCluster;
let spec: ReturnType<typeof smallSpec>;
let undisturbed: RunMetrics;

beforeAll(async () => {
  cluster = await DevCluster.start({ agents: 2 });
  const data = join(cluster.root, 'data');
  await writeDigits(data);
  spec = smallSpec({ data, iterations: ITERATIONS });
  const run = await cluster.anneal.runs.start(spec, { key: 'calm' });
  await within('the undisturbed run ends', LIMIT_MS, run.result());
  undisturbed = await run.metrics();
});

afterAll(async () => {
  expect(await cluster.stop()).toEqual([]);
});

/** As Python's `float.hex()` writes it: the other way round than the product reads it. */
function hex(value: number): string {
  // The learning rate of the first iteration of a warm-up.
  if (Object.is(value, 0)) return '0x0.0p+0';
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  const bits = view.getBigUint64(0);
  const exponent = Number((bits >> 52n) & 0x7ffn) - 1023;
  if (exponent === -1023 || exponent === 1024) throw new Error(`${value} is not expected of a training.`);
  const fraction = (bits & 0xfffffffffffffn).toString(16).padStart(13, '0');
  return `${value < 0 ? '-' : ''}0x1.${fraction}p${exponent < 0 ? '' : '+'}${exponent}`;
}

/** The lines that the language rank of a generation has written on its host, as text. */
async function measuredOnHost(runId: string, generation: number): Promise<Map<number, string>> {
  for (const host of ['host-a', 'host-b']) {
    const file = join(trainerFolder(cluster, host, runId, generation, 1), 'metrics.jsonl');
    const text = await readFile(file, 'utf8').catch(() => undefined);
    if (text === undefined) continue;
    // What a kill has cut is not a line.
    const lines = text.split('\n').slice(0, -1);
    return new Map(lines.map((line) => [(JSON.parse(line) as { iteration: number }).iteration, line]));
  }
  throw new Error(`No host has measurements of generation ${generation} of ${runId}.`);
}

function lineOf({ iteration, loss, gradNorm, learningRate, consumedSamples, seconds, at }: IterationMetrics): string {
  const line = { iteration, loss: hex(loss), grad_norm: hex(gradNorm), lr: hex(learningRate) };
  return JSON.stringify({ ...line, consumed_samples: consumedSamples, seconds, time: at / 1000 });
}

const same = (line: string): string => JSON.stringify(JSON.parse(line));
const standing = ({ rows }: RunMetrics): readonly IterationMetrics[] =>
  rows.filter(({ rolledBackBy }) => rolledBackBy === undefined);
const numbers = ({ iteration, loss, gradNorm, learningRate, consumedSamples }: IterationMetrics): unknown[] => [
  ...[iteration, hex(loss), hex(gradNorm), hex(learningRate), consumedSamples],
];
const all = Array.from({ length: ITERATIONS }, (_, index) => index + 1);

test('an undisturbed run: every iteration once, with the bits that the rank has measured, as one object', async () => {
  expect(undisturbed.key).toBe('runs/calm/metrics.jsonl');
  expect(undisturbed.rows.map(({ iteration }) => iteration)).toEqual(all);
  expect(undisturbed.rows.every(({ generation, rolledBackBy }) => generation === 1 && rolledBackBy === undefined)).toBe(
    true,
  );
  const onHost = await measuredOnHost('calm', 1);
  expect(undisturbed.rows.map(lineOf)).toEqual([...onHost.values()].map(same));
  const file = await readFile(join(cluster.storeFolder, 'runs/calm/metrics.jsonl'), 'utf8');
  expect(
    file
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as unknown),
  ).toEqual(undisturbed.rows);
});

test('a rank is killed: the record is continuous, equals that of the undisturbed run, and marks what was rolled back', async () => {
  for (const artifact of ['checkpoint', 'published', 'evaluation'] as const)
    expect(await forget(cluster, artifact)).toBe(1);
  const run = await cluster.anneal.runs.start(spec, { key: 'killed' });
  const trainers = await until('the trainers have started', LIMIT_MS, () => trainersOf(cluster, 'killed', 1));
  const language = trainers[1]!;
  const [commit] = await until('a checkpoint is committed', LIMIT_MS, async () => {
    const commits = await commitsOf(cluster, 'killed');
    return commits.length > 0 ? commits : undefined;
  });
  // What is committed has no hole before it, at any moment.
  const live = await run.metrics();
  expect(live.key).toBeUndefined();
  expect(
    standing(live)
      .map(({ iteration }) => iteration)
      .slice(0, commit!.iteration),
  ).toEqual(all.slice(0, commit!.iteration));
  await until(
    'an iteration after the commit is done',
    LIMIT_MS,
    async () =>
      [...(await measuredOnHost('killed', 1)).keys()].some((iteration) => iteration > commit!.iteration + 1) ||
      undefined,
  );
  process.kill(language.rank, 'SIGKILL');
  await within('the run ends', LIMIT_MS, run.result());

  const opened = (await readLog(cluster, 'killed')).flatMap((fact) => (fact.fact === 'open' ? [fact] : []));
  expect(opened.map(({ generation }) => generation)).toEqual([1, 2]);
  const from = opened[1]!.fromIteration;
  const record = await run.metrics();
  expect(record.key).toBe('runs/killed/metrics.jsonl');
  expect(standing(record).map(({ iteration }) => iteration)).toEqual(all);
  expect(standing(record).map(({ generation, iteration }) => generation === (iteration > from ? 2 : 1))).not.toContain(
    false,
  );
  // The same bits at every iteration as without the kill, in the lost stretch too.
  expect(standing(record).map(numbers)).toEqual(undisturbed.rows.map(numbers));
  const lost = record.rows.filter(({ rolledBackBy }) => rolledBackBy !== undefined);
  expect(lost.map(numbers)).toEqual(undisturbed.rows.slice(from, from + lost.length).map(numbers));
  expect(lost.every(({ generation, rolledBackBy }) => generation === 1 && rolledBackBy === 2)).toBe(true);
  // Nothing that a rank has written is missing, and each row is what it wrote.
  const [first, second] = [await measuredOnHost('killed', 1), await measuredOnHost('killed', 2)];
  expect(lost).toHaveLength([...first.keys()].filter((iteration) => iteration > from).length);
  expect(record.rows.map(lineOf)).toEqual([...first.values(), ...second.values()].map(same));
});

test('the commands draw it, print it exactly, and write it for TensorBoard', async () => {
  const shown = await cluster.cli('metrics', 'killed');
  expect(shown.stdout).toMatch(/^killed: 80 iterations, loss \d.*\nrolled back: \d+ iterations of generation 1\n/);
  expect(shown.stdout).toMatch(/^ +\^g2$/m);
  const printed = await cluster.cli('metrics', 'killed', '--json');
  expect(printed.stdout).toBe(
    (await readFile(join(cluster.storeFolder, 'runs/killed/metrics.jsonl'), 'utf8')).trimEnd(),
  );
  const folder = join(cluster.root, 'tb');
  expect((await cluster.cli('metrics', 'killed', '--tensorboard', folder)).code).toBe(0);
  expect((await cluster.cli('metrics', 'killed', '--tensorboard', folder)).code).toBe(0);
  expect(await readdir(join(folder, 'killed'))).toEqual([expect.stringMatching(/^events\.out\.tfevents\.\d{10}\./)]);
  const report = await cluster.cli('report', 'killed');
  expect(report.stdout).toMatch(/^training +80 iterations, loss .* samples\/s$/m);
  expect(report.stdout).toContain('Loss:');
});

test('a run that reuses the training has no record of its own, and points to the run that trained', async () => {
  const run = await cluster.anneal.runs.start(spec, { key: 'reuses' });
  await within('the run ends', LIMIT_MS, run.result());
  expect(await run.metrics()).toEqual({ rows: [], trainedBy: 'killed' });
  const shown = await cluster.cli('metrics', 'reuses');
  expect(shown.code).toBe(4);
  expect(shown.stderr).toContain('has reused the training of run "killed"');
  expect(await cluster.store.head('runs/reuses/metrics.jsonl')).toBeUndefined();
});

/** The loss record of a trainer that writes none: the same log gives the same bytes, however it is read. */
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { measuredLines } from '../../../src/activities/host/measured-lines.js';
import { backendFor } from '../../../src/backends/backend.js';
import { parseMeasurements } from '../../../src/records/metrics-lines.js';
import { scratchFolder } from '../../support/scratch.js';

const backend = backendFor({ kind: 'ascend' });
/** By the template of MindSpeed MM 2.2.0. */
const line = (iteration: number, more = 'loss: 2.864627E-01 | loss scale: 1.0 | grad norm: 6.413 |'): string =>
  ` [2025-10-28 11:38:${String(10 + iteration)}] iteration ${String(iteration).padStart(8)}/    5000 | consumed samples: ${String(128 * iteration).padStart(12)} | ` +
  `elapsed time per iteration (ms): 20954.1 | learning rate: ${(iteration * 1e-5).toExponential(6).toUpperCase()} | global batch size:   128 | ${more} ` +
  'number of skipped iterations:   0 | number of nan iterations:   0 |\n';

test('each iteration is a measurement, in whatever pieces the log grows', async () => {
  const root = await scratchFolder();
  const [log, whole, pieces] = ['log', 'whole', 'pieces'].map((name) => join(root, name)) as [string, string, string];
  const text = `building VLMModel ...\n${line(1)}a traceback\n${line(2)}${line(3, 'loss: 1.000000E+00 |')}`;
  const grow = measuredLines(log, pieces, backend);
  await grow();
  for (let at = 0; at < text.length; at += 97) {
    await appendFile(log, text.slice(at, at + 97));
    await grow();
  }
  await measuredLines(log, whole, backend)();
  const written = await readFile(whole, 'utf8');
  expect(await readFile(pieces, 'utf8')).toBe(written);
  const at = new Date(2025, 9, 28, 11, 38, 11).getTime();
  expect(parseMeasurements(written)).toEqual([
    // MindSpeed MM's loop prints the rate that the iteration was trained with, also the first of a generation.
    { iteration: 1, loss: 0.2864627, gradNorm: 6.413, learningRate: 1e-5, consumedSamples: 128, seconds: 20.9541, at },
    {
      ...{ iteration: 2, loss: 0.2864627, gradNorm: 6.413, learningRate: 2e-5, consumedSamples: 256 },
      ...{ seconds: 20.9541, at: at + 1000 },
    },
    {
      ...{ iteration: 3, loss: 1, gradNorm: NaN, learningRate: 3e-5, consumedSamples: 384 },
      ...{ seconds: 20.9541, at: at + 2000 },
    },
  ]);
});

test('the line of a release that prints the rate of the coming iteration has no time, and is no measurement', async () => {
  const root = await scratchFolder();
  const [log, file] = [join(root, 'log'), join(root, 'file')];
  await writeFile(log, line(1).replace(/\[.*?\] /, '') + line(2).replace(/learning rate: \S+ \| /, '') + line(3));
  await measuredLines(log, file, backend)();
  const told = parseMeasurements(await readFile(file, 'utf8'));
  expect(told.map(({ iteration, learningRate }) => [iteration, learningRate])).toEqual([[3, 3e-5]]);
});

test('a line that is longer than any of Megatron is passed over, and one that is not whole yet waits', async () => {
  const root = await scratchFolder();
  const [log, file] = [join(root, 'log'), join(root, 'file')];
  await writeFile(log, `${'x'.repeat(700_000)}\n${line(1)}${line(2).slice(0, 80)}`);
  await measuredLines(log, file, backend)();
  expect(parseMeasurements(await readFile(file, 'utf8')).map(({ iteration }) => iteration)).toEqual([1]);
});

/** What an agent reads out of its trainer's output: pace, and the moment of the first iteration that is new to the run. */
import { appendFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { TrainerLog } from '../../../src/activities/host/trainer-log.js';
import { backendFor } from '../../../src/backends/backend.js';
import { scratchFolder } from '../../support/scratch.js';
import { until } from '../../support/until.js';

const line = (iteration: number, ms = 100): string =>
  ` [2026-01-02 12:00:00] iteration ${String(iteration)}/ 300 | elapsed time per iteration (ms): ${String(ms)} | loss: 5.0E-01 |\n`;

async function following(name: string, old: string, isAdopted: boolean) {
  const path = join(await scratchFolder(), name);
  await writeFile(path, old);
  const backend = backendFor({ kind: 'cpu' });
  const saves = (iteration: number): boolean => iteration % 20 === 0;
  return { path, log: new TrainerLog({ path, backend, resumeIteration: 10, reachedIteration: 12, isAdopted, saves }) };
}

const reads = (log: TrainerLog, iteration: number) =>
  until(`iteration ${String(iteration)} is read`, 5_000, () => (log.iteration === iteration ? true : undefined));

test('the pace is the mean of the last twenty iterations by the trainer itself', async () => {
  const { log } = await following(
    'pace',
    line(10, 9_000) + Array.from({ length: 20 }, (_, i) => line(11 + i)).join(''),
    false,
  );
  expect(log.secondsPerIteration).toBeUndefined();
  await log.end();
  expect(log).toMatchObject({ iteration: 30, loss: 0.5, secondsPerIteration: 0.1 });
});

test('a loss that is no number is heard while the trainer goes on', async () => {
  const { path, log } = await following('nan', line(11), false);
  await reads(log, 11);
  expect(await Promise.race([log.hopeless.then(() => 'diverged'), Promise.resolve('not yet')])).toBe('not yet');
  await appendFile(path, line(12).replace('5.0E-01', 'nan'));
  await log.hopeless;
  await log.end();
});

test('the first iteration beyond what was reached is new, and its moment stays', async () => {
  const { path, log } = await following('new', line(11) + line(12), false);
  await reads(log, 12);
  expect(log.newIterationAt).toBeUndefined();
  const before = Date.now();
  await appendFile(path, line(13));
  await reads(log, 13);
  const at = log.newIterationAt;
  expect(at).toBeGreaterThanOrEqual(before);
  await appendFile(path, line(14));
  await reads(log, 14);
  await log.end();
  expect(log.newIterationAt).toBe(at);
});

test('of an adopted trainer nobody knows when it said what it had said before', async () => {
  const { path, log } = await following('adopted', line(11) + line(13), true);
  await appendFile(path, line(14));
  await reads(log, 14);
  await log.end();
  expect(log.newIterationAt).toBeUndefined();
});

test('an adopted trainer that comes to its first new iteration later is heard live', async () => {
  const { path, log } = await following('later', line(11), true);
  await reads(log, 11);
  await appendFile(path, line(13));
  await reads(log, 13);
  await log.end();
  expect(log.newIterationAt).toBeGreaterThan(0);
});

test('the phase follows the trainer: by its markers on node 0, by its iterations on the node that prints those', async () => {
  const { path, log } = await following('phases', '', false);
  const says = async (text: string, phase: string): Promise<void> => {
    const before = log.moves;
    await appendFile(path, `${text}\n`);
    await until(phase, 5_000, () => (log.moves > before ? true : undefined));
    expect(log.phase).toBe(phase);
  };
  expect(log.phase).toBe('starting');
  await says('[after megatron is initialized] datetime: 2026-01-31 12:00:00', 'restoring');
  await says('[before the start of training step] datetime: 2026-01-31 12:00:00', 'first iteration');
  await says(line(19).trimEnd(), 'training');
  // After this one there is a save, which the node that prints iterations is not told of.
  await says(line(20).trimEnd(), 'saving');
  await says(line(21).trimEnd(), 'training');
  await says('[after training is done] datetime: 2026-01-31 12:00:00', 'done');
  const moves = log.moves;
  await appendFile(path, 'a warning\n');
  await until('the warning is read', 5_000, () => (log.lines.at(-1) === 'a warning' ? true : undefined));
  expect(log.moves).toBe(moves);
  await log.end();
});

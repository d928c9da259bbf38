/** Following a log: every line once, whole, in order, from any offset. */
import { appendFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { tailFile } from '../../../src/process/log-tail.js';
import type { TailOptions } from '../../../src/process/log-tail.js';
import { eventually } from './support.js';

let root: string;
let log: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'anneal-tail-'));
  log = join(root, 'trainer.log');
});
afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

/** Reads what is there now. */
async function read(
  options: Partial<TailOptions> = {},
): Promise<{ lines: string[]; offsets: number[]; nextByte: number }> {
  const lines: string[] = [];
  const offsets: number[] = [];
  const onLine = (line: string, offset: number): void => {
    lines.push(line);
    offsets.push(offset);
  };
  const { nextByte } = await tailFile(log, { onLine, signal: AbortSignal.abort(), ...options });
  return { lines, offsets, nextByte };
}

test('lines are delivered as they are written, a line in pieces only when it is whole, in a file that comes later', async () => {
  const lines: string[] = [];
  const stop = new AbortController();
  const tail = tailFile(log, { onLine: (line) => lines.push(line), pollMs: 10, signal: stop.signal });
  writeFileSync(log, 'one\ntw');
  await eventually('the first line', () => lines.length === 1);
  appendFileSync(log, 'o\r\n\nthr');
  await eventually('three lines', () => lines.length === 3);
  expect(lines).toEqual(['one', 'two', '']);
  appendFileSync(log, 'ee');
  stop.abort();
  expect(await tail).toEqual({ nextByte: 10 });
});

test('a tail goes on where another stopped, without a line twice or missing', async () => {
  writeFileSync(log, 'α\nβ\nγ');
  const first = await read();
  expect(first).toEqual({ lines: ['α', 'β'], offsets: [3, 6], nextByte: 6 });
  appendFileSync(log, 'δ\nend');
  const second = await read({ fromByte: first.nextByte, lastLine: 'deliver' });
  expect(second).toEqual({ lines: ['γδ', 'end'], offsets: [11, 14], nextByte: 14 });
  expect((await read({ fromByte: 3 })).lines).toEqual(['β', 'γδ']);
});

test('a big log with characters across the borders of its chunks comes out line by line', async () => {
  const written = Array.from({ length: 20_000 }, (_, n) => `iteration ${n} öäü ${'x'.repeat(n % 97)}`);
  writeFileSync(log, `${written.join('\n')}\n`);
  const { lines } = await read();
  expect(lines).toEqual(written);
});

test('a line without end is cut at its limit, and the line after it is whole', async () => {
  writeFileSync(log, `${'x'.repeat(300_000)}\nshort\n${'y'.repeat(10)}\n`);
  const { lines, nextByte } = await read({ maxLineBytes: 10 });
  expect(lines).toEqual(['xxxxxxxxxx …(cut)', 'short', 'yyyyyyyyyy']);
  expect(nextByte).toBe(300_018);
});

test('an error of the listener ends the tail', async () => {
  writeFileSync(log, 'one\n');
  const onLine = (): void => {
    throw new Error('no');
  };
  await expect(tailFile(log, { onLine, signal: new AbortController().signal })).rejects.toThrow('no');
});

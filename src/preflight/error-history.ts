/**
 * How many errors the HBM of each chip could not correct, as earlier looks saw it, kept in the host's work root: the driver counts since it was
 * loaded, and the rule by which a chip is set apart is of a day.
 */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { replaceFile } from '../storage/disk.js';
import type { ChipReadings } from './host-readings.js';
import { valueOf } from './reading.js';

/** Of one chip, by its address on the bus; each time that the count was another one, the oldest first. */
const History = z.record(z.string(), z.array(z.strictObject({ at: z.number(), count: z.number() })));
export type ErrorHistory = Readonly<z.infer<typeof History>>;

const DAY_MS = 24 * 3600 * 1000;
/** Two within a day are enough; more would only swell the file. */
const KEPT = 8;

/** Undefined for a chip that no look has seen before. */
export function errorsOfDay(history: ErrorHistory, busId: string, count: number, now: number): number | undefined {
  const seen = history[busId] ?? [];
  if (seen.length === 0) return undefined;
  const after = [...seen.slice(1), { at: now, count }];
  return after.reduce((sum, next, index) => {
    const before = seen[index]?.count ?? 0;
    // Fewer than before: the driver was loaded anew, and counts from nothing.
    const more = next.count < before ? next.count : next.count - before;
    return next.at > now - DAY_MS ? sum + more : sum;
  }, 0);
}

/** The history after a look; the same when it has nothing new. */
export function afterLook(history: ErrorHistory, chips: readonly ChipReadings[], now: number): ErrorHistory {
  const news = chips.flatMap(({ chip: { busId }, errors }) => {
    const count = valueOf(errors)?.doubleBit;
    const seen = history[busId] ?? [];
    return count === undefined || seen.at(-1)?.count === count
      ? []
      : [[busId, [...seen, { at: now, count }].slice(-KEPT)] as const];
  });
  return news.length === 0 ? history : { ...history, ...Object.fromEntries(news) };
}

const fileIn = (workRoot: string): string => join(workRoot, 'npu-errors.json');

/** Empty where nobody has looked yet; one that is damaged begins anew. */
export async function readErrorHistory(workRoot: string): Promise<ErrorHistory> {
  const text = await readFile(fileIn(workRoot), 'utf8').catch(() => '{}');
  try {
    return History.parse(JSON.parse(text));
  } catch {
    return {};
  }
}

export async function noteErrors(workRoot: string, chips: readonly ChipReadings[], now: number): Promise<void> {
  const before = await readErrorHistory(workRoot);
  const after = afterLook(before, chips, now);
  if (after === before) return;
  await mkdir(workRoot, { recursive: true });
  await replaceFile(fileIn(workRoot), `${JSON.stringify(after, null, 2)}\n`);
}

/** The idle baseline of a host's HBM, kept in its work root: a board keeps some GB for itself, each its own. */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { replaceFile } from '../storage/disk.js';
import type { AscendReadings, IdleBaseline } from './host-readings.js';
import { IDLE_RESERVE_MB, IDLE_TOLERANCE_MB } from './npu-checks.js';
import type { Reading } from './reading.js';

const Baseline = z.strictObject({ driver: z.string(), at: z.string(), usedMb: z.record(z.string(), z.number()) });

export const baselineFile = (workRoot: string): string => join(workRoot, 'npu-idle.json');

/** Undefined while nobody has recorded one. */
export async function readBaseline(workRoot: string): Promise<Reading<IdleBaseline> | undefined> {
  const file = baselineFile(workRoot);
  const text = await readFile(file, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const parsed = Baseline.safeParse(parseJson(text));
  return parsed.success ? { value: parsed.data } : { unread: `${file}: it is none of ours` };
}

/** What an idle host holds, or why it is not known to be idle: a baseline of a busy host would hide what it is there to show. */
export function baselineOf(npus: AscendReadings, at: string): Reading<IdleBaseline> {
  const { table, processes, versions, chips } = npus;
  if ('unread' in table) return table;
  if ('unread' in processes) return processes;
  if ('unread' in versions.driver) return versions.driver;
  const [busy] = processes.value;
  if (busy !== undefined) return { unread: `process ${String(busy.pid)} is on NPU ${String(busy.npu)}` };
  const sick = chips.find(({ chip }) => chip.health !== 'OK')?.chip;
  if (sick !== undefined) return { unread: `the health of chip ${String(sick.physicalId)} is ${sick.health}` };
  const full = chips.find(({ chip }) => chip.hbmUsedMb > IDLE_RESERVE_MB + IDLE_TOLERANCE_MB)?.chip;
  if (full !== undefined)
    return {
      unread: `chip ${String(full.physicalId)} holds ${String(full.hbmUsedMb)} MB, more than any idle board is known to keep for itself`,
    };
  const usedMb = Object.fromEntries(chips.map(({ chip }) => [chip.busId, chip.hbmUsedMb]));
  return { value: { driver: versions.driver.value, at, usedMb } };
}

export async function writeBaseline(workRoot: string, baseline: IdleBaseline): Promise<void> {
  await mkdir(workRoot, { recursive: true });
  await replaceFile(baselineFile(workRoot), `${JSON.stringify(baseline, null, 2)}\n`);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

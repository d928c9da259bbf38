/** What the kernel knows of a trainer's end: its log since the launch, and how many processes it has killed for want of memory. */
import { join } from 'node:path';
import { z } from 'zod';
import type { ExitEvidence } from '../../backends/backend.js';
import { kernelLines, type KernelLog } from '../../process/kernel-log.js';
import { oomCount, oomKillsSince } from '../../process/oom-kills.js';
import { readJson, readState } from '../../process/trainer-files.js';
import type { Part } from './plogs.js';

/** What a launch has noted; a trainer that never started has left none of it. */
const launchRecord = z.object({ at: z.string(), oomKills: oomCount.optional() });

/** The kernel's clock and the host's drift apart by seconds. */
const DRIFT_MS = 10_000;
/** As of CANN's own logs: a rank that waits for one that has died goes on for half an hour. */
const WINDOW_MS = 35 * 60_000;
const PART_BYTES = 256 * 1024;

export interface KernelEvidence {
  readonly log: KernelLog;
  readonly oomKills: number;
  readonly pids: readonly number[];
}

/** Never fails: a trainer's end is judged by what else there is. */
export async function kernelEvidence(dir: string): Promise<KernelEvidence> {
  const record = await readJson(join(dir, 'record.json'), launchRecord).catch(() => undefined);
  if (record === undefined)
    return { log: { unread: 'when the trainer was launched is not known' }, oomKills: 0, pids: [] };
  const state = await readState(dir).catch(() => undefined);
  const pids =
    state !== undefined && 'pid' in state ? [state.pid, ...(state.trainer === null ? [] : [state.trainer])] : [];
  const [log, oomKills] = await Promise.all([
    kernelLines(Date.parse(record.at) - DRIFT_MS),
    record.oomKills === undefined ? 0 : oomKillsSince(record.oomKills),
  ]);
  return { log, oomKills, pids };
}

/** What may explain an end at that moment. */
export function kernelBefore({ log, oomKills, pids }: KernelEvidence, at: number): NonNullable<ExitEvidence['kernel']> {
  const lines = 'lines' in log ? log.lines.filter((line) => line.at > at - WINDOW_MS).map(({ text }) => text) : [];
  return { lines, oomKills, pids };
}

/** For the evidence of an incident: the last lines, or why there are none. */
export function kernelPart({ log, oomKills }: KernelEvidence): Part {
  const said = 'lines' in log ? log.lines.map(({ text }) => `${text}\n`).join('') : `Not read: ${log.unread}\n`;
  const all = Buffer.from(
    `${said}Killed for want of memory since the launch, in this control group: ${String(oomKills)}\n`,
  );
  const end = all.subarray(-PART_BYTES);
  const body = end.length === all.length ? end : end.subarray(end.indexOf(10) + 1);
  return { path: 'kernel.log', body, ofBytes: all.length };
}

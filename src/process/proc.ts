/**
 * Reads Linux's /proc. A pid alone names nobody, because pids are used again: with its start time and the boot id it names one
 * process for ever.
 */
import { readFileSync, readdirSync, readlinkSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { z } from 'zod';

export const processIdentity = z.object({
  pid: z.number().int().positive(),
  /** Clock ticks since boot: field 22 of /proc/<pid>/stat. */
  start: z.number().int(),
  boot: z.string(),
});
export type ProcessIdentity = Readonly<z.infer<typeof processIdentity>>;

/** A living process. */
export interface ProcessRow {
  readonly pid: number;
  readonly ppid: number;
  readonly group: number;
  readonly session: number;
  readonly start: number;
}

/** `undefined` when the process is gone or only a zombie; a dead leader whose threads still live counts as alive. */
export function readProcess(pid: number): ProcessRow | undefined {
  const text = readProc(`/proc/${pid}/stat`);
  if (text === undefined) return undefined;
  // The name in brackets may hold anything, brackets and blanks too: count from the last bracket.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const number = (index: number): number => Number(fields[index]);
  if ((fields[0] === 'Z' || fields[0] === 'X') && number(17) <= 1) return undefined;
  return { pid, ppid: number(1), group: number(2), session: number(3), start: number(19) };
}

/** All living processes by pid. Throws on anything but Linux. */
export function processTable(): Map<number, ProcessRow> {
  if (process.platform !== 'linux') {
    throw new Error(`Processes are found through /proc, which ${process.platform} has not: run the agent on Linux.`);
  }
  const rows = new Map<number, ProcessRow>();
  for (const name of readdirSync('/proc')) {
    const row = /^\d+$/.test(name) ? readProcess(Number(name)) : undefined;
    if (row !== undefined) rows.set(row.pid, row);
  }
  return rows;
}

/** The `NAME=value` entries with which a process was started; empty when it is another user's. */
export function environmentOf(pid: number): readonly string[] {
  return readProc(`/proc/${pid}/environ`)?.split('\0') ?? [];
}

/** The first 200 characters of a command line, for reports. */
export function commandOf(pid: number): string {
  return (readProc(`/proc/${pid}/cmdline`) ?? '').replaceAll('\0', ' ').trim().slice(0, 200);
}

/** Whether a process has the file as its standard input; `file` is its device and inode. */
export function readsFrom(pid: number, name: string, file: { readonly dev: bigint; readonly ino: bigint }): boolean {
  try {
    const link = `/proc/${pid}/fd/0`;
    // The name first: to stat a stranger's file on a dead network mount would hang us.
    if (!basename(readlinkSync(link)).includes(name)) return false;
    const stat = statSync(link, { bigint: true });
    return stat.dev === file.dev && stat.ino === file.ino;
  } catch {
    return false;
  }
}

export function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

export function ownIdentity(): ProcessIdentity {
  return { pid: process.pid, start: readProcess(process.pid)?.start ?? 0, boot: bootId() };
}

/** Whether exactly this process, and not a later one with its pid, still lives. */
export function isAlive(identity: ProcessIdentity): boolean {
  return readProcess(identity.pid)?.start === identity.start && identity.boot === bootId();
}

function readProc(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined; // Gone between two calls, or another user's.
  }
}

/** What the kernel of this host has said since a moment, by whichever of its readers is permitted here: an agent in a container often may not. */
import { access, constants } from 'node:fs/promises';
import { askTool } from './ask-tool.js';

export interface KernelLine {
  /** Epoch milliseconds; by the kernel's own clock, which may be seconds off on a machine that has run for months. */
  readonly at: number;
  /** As the reader prints it. */
  readonly text: string;
}

export type KernelLog = { readonly lines: readonly KernelLine[] } | { readonly unread: string };

export type LogReader = readonly [string, ...string[]];

/** Bounds what is printed: a kernel that repeats itself fills megabytes. */
const JOURNAL_LINES = '5000';
const READERS: readonly LogReader[] = [
  ['/usr/bin/dmesg', '--time-format', 'iso'],
  ['/usr/bin/journalctl', '-k', '-b', '-q', '--no-pager', '-o', 'short-iso', '-n', JOURNAL_LINES],
];

/** They read memory; one that takes longer hangs, and a gang waits meanwhile. */
const LIMIT_MS = 3_000;
const LINES_KEPT = 5_000;

/** The last ones. Never fails, and ends within seconds of a reader that hangs. */
export async function kernelLines(since: number, readers: readonly LogReader[] = READERS): Promise<KernelLog> {
  const why: string[] = [];
  for (const argv of readers) {
    const [program] = argv;
    if (!(await isThere(program))) continue;
    const env = { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' };
    const answer = await askTool({ argv, env, lockFile: program, limitMs: LIMIT_MS, waitMs: LIMIT_MS });
    const read = answer.kind === 'answered' && answer.code === 0 ? linesOf(answer.stdout) : undefined;
    if (read !== undefined) return { lines: read.filter(({ at }) => at >= since).slice(-LINES_KEPT) };
    const said = answer.kind === 'answered' ? lastLine(answer.stderr || answer.stdout) : answer.kind;
    why.push(`${program}: ${said}`);
    // One that hangs has cost the time there is.
    if (answer.kind === 'hung') break;
  }
  return { unread: why.length > 0 ? why.join('; ') : 'neither dmesg nor journalctl is here' };
}

/** Undefined for what is in no known form. A line without a time goes on with the one before it. */
function linesOf(text: string): readonly KernelLine[] | undefined {
  const lines: KernelLine[] = [];
  for (const line of text.split('\n')) {
    const at = timeOf(line);
    const last = lines.at(-1);
    if (at !== undefined) lines.push({ at, text: line });
    else if (line.trim() !== '' && last !== undefined) lines.push({ at: last.at, text: line });
  }
  return lines.length === 0 && text.trim() !== '' ? undefined : lines;
}

/** `2026-11-26T06:35:43,210605+00:00` of dmesg, `2026-11-26T06:35:43+0000` of journalctl. */
function timeOf(line: string): number | undefined {
  const [, time, fraction = '0', hours, minutes] =
    /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:[,.](\d+))?([+-]\d\d):?(\d\d) /.exec(line) ?? [];
  if (time === undefined || hours === undefined || minutes === undefined) return undefined;
  return Date.parse(`${time}${hours}:${minutes}`) + Math.floor(Number(`0.${fraction}`) * 1000);
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1)?.slice(0, 200) ?? '';
}

async function isThere(file: string): Promise<boolean> {
  return access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
}

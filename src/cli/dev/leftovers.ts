/**
 * Processes of a state folder that nobody looks after: children of an `anneal dev` that was killed, and trainers and commands that
 * their agents have let go. They are known by what they carry, so a lost state file loses none.
 */
import { readFileSync, readlinkSync } from 'node:fs';
import { sep } from 'node:path';
import { commandOf, environmentOf, type ProcessRow, processTable, readProcess } from '../../process/proc.js';
import { poll } from '../../process/wait.js';
import type { DevState } from '../../client/dev-state.js';

/** In the environment of every child of `anneal dev`: the absolute state folder. */
export const DEV_VARIABLE = 'ANNEAL_DEV';

export interface Leftover {
  readonly pid: number;
  readonly start: number;
  readonly command: string;
}

const KILL_LIMIT_MS = 10_000;

/** Server, worker and agents of a state folder, by its state file and by their environment. */
export function devChildren(folder: string, state: DevState | undefined): readonly Leftover[] {
  const table = processTable();
  const named = new Set(
    (state?.children ?? [])
      .filter(({ pid, startTicks }) => String(table.get(pid)?.start) === startTicks)
      .map(({ pid }) => pid),
  );
  const mark = `${DEV_VARIABLE}=${folder}`;
  return strangers(table)
    .filter(({ pid }) => named.has(pid) || environmentOf(pid).includes(mark))
    .map(describe);
}

/** Supervisors, trainers and commands that work in the folder of a host of this state folder. */
export function hostWork(folder: string): readonly Leftover[] {
  const hosts = `${folder}${sep}hosts${sep}`;
  return strangers(processTable())
    .filter(({ pid }) => {
      const isOurs =
        environmentOf(pid).some((entry) => entry.startsWith('ANNEAL_RUN_ID=')) ||
        commandLine(pid).some((part) => part.endsWith('supervisor.py'));
      return (
        isOurs &&
        (commandLine(pid).some((part) => part.includes(hosts)) ||
          [link(pid, 'cwd'), link(pid, 'fd/0')].some((path) => path.startsWith(hosts)))
      );
    })
    .map(describe);
}

/** SIGTERM, grace, then SIGKILL until none is left; returns what survived that (a process that hangs in the kernel). */
export async function endAll(find: () => readonly Leftover[], graceMs: number): Promise<readonly Leftover[]> {
  if (graceMs > 0) {
    signalAll(find(), 'SIGTERM');
    await poll(() => (find().length === 0 ? true : undefined), { timeoutMs: graceMs, pollMs: 100 });
  }
  await poll(
    () => {
      const living = find();
      signalAll(living, 'SIGKILL');
      return living.length === 0 ? true : undefined;
    },
    { timeoutMs: KILL_LIMIT_MS, pollMs: 50 },
  );
  return find();
}

function signalAll(processes: readonly Leftover[], name: 'SIGTERM' | 'SIGKILL'): void {
  for (const { pid, start } of processes) {
    if (readProcess(pid)?.start !== start) continue;
    try {
      process.kill(pid, name);
    } catch {
      // Gone in between.
    }
  }
}

/** All processes but ourselves and those that started us. */
function strangers(table: ReadonlyMap<number, ProcessRow>): readonly ProcessRow[] {
  const spared = new Set<number>([0, 1]);
  for (let pid: number | undefined = process.pid; pid !== undefined && !spared.has(pid); pid = table.get(pid)?.ppid)
    spared.add(pid);
  return [...table.values()].filter(({ pid }) => !spared.has(pid));
}

function describe({ pid, start }: ProcessRow): Leftover {
  return { pid, start, command: commandOf(pid) };
}

function commandLine(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${String(pid)}/cmdline`, 'utf8').split('\0');
  } catch {
    return [];
  }
}

function link(pid: number, name: string): string {
  try {
    return readlinkSync(`/proc/${String(pid)}/${name}`);
  } catch {
    return '';
  }
}

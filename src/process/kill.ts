/**
 * The one routine that ends processes: SIGTERM, grace, SIGKILL to everything that belongs to a trainer or a command, until
 * nothing is found any more. Linux only.
 *
 * Three ways to find a process, because each has a hole: its marker in /proc/<pid>/environ (lost by `env -i` and
 * `setproctitle`), the host lock as its standard input (lost by `< /dev/null`), and being a descendant of one so found (lost when
 * a parent dies). torchrun starts its workers in sessions of their own: process groups find none of them.
 */
import { realpathSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { isLockFree, readLockHolder } from './host-lock.js';
import { describeMarker, markerEnvironment } from './marker.js';
import type { Marker } from './marker.js';
import { commandOf, environmentOf, processTable, readProcess, readsFrom } from './proc.js';
import type { ProcessRow } from './proc.js';
import { monotonicSeconds, pause } from './wait.js';

/** A process that survives SIGKILL for longer hangs in a driver: the host is dirty, and waiting is no use. */
const killLimitMs = 10_000;
/** Looking costs some milliseconds of CPU on a busy host: often while killing, seldom while others have time. */
const killPollMs = 20;
const gracePollMs = 100;

export interface StopEverything {
  readonly marker: Marker;
  /** The host lock of a trainer. Its holders are killed only while the lock file names this marker as its holder. */
  readonly lockFile?: string | undefined;
  /** A session, known by its leader's pid, whose members belong to it as well. */
  readonly session?: number | undefined;
  /** Time between SIGTERM and SIGKILL; 0 = SIGKILL at once. */
  readonly graceMs: number;
}

export interface FoundProcess {
  readonly pid: number;
  readonly start: number;
  readonly command: string;
}

export interface StopReport {
  /** Signalled, and gone. */
  readonly killed: readonly FoundProcess[];
  /** Still there after 10 s of SIGKILL. */
  readonly left: readonly FoundProcess[];
  /** `held` = by something that is ours and was not found; `another` = by another trainer. */
  readonly lock: 'free' | 'held' | 'another' | 'not-asked';
  /** Proof that nothing of it lives here: nothing left, and the lock, if one was named, free or another trainer's. */
  readonly gone: boolean;
  readonly message: string;
}

/** Ends everything of a marker. Never signals itself or its own ancestors. Resolves within `graceMs` + 10 s. */
export async function stopEverything(request: StopEverything): Promise<StopReport> {
  const signalled = new Map<string, FoundProcess>();
  let living = await find(request);
  if (request.graceMs > 0) {
    signal(living, 'SIGTERM', signalled);
    const deadline = monotonicSeconds() + request.graceMs / 1000;
    while (living.length > 0 && monotonicSeconds() < deadline) {
      await pause(gracePollMs);
      living = await find(request);
    }
  }
  let lock = await lockState(request, living);
  const deadline = monotonicSeconds() + killLimitMs / 1000;
  while ((living.length > 0 || lock === 'held') && monotonicSeconds() < deadline) {
    signal(living, 'SIGKILL', signalled);
    await pause(living.length > 0 ? killPollMs : gracePollMs);
    living = await find(request);
    lock = await lockState(request, living);
  }
  return report(request.marker, [...signalled.values()], living, lock);
}

/** Ends what an earlier attempt of a command left behind, for instance because its agent was killed. */
export async function killLeftovers(marker: Marker): Promise<StopReport> {
  return stopEverything({ marker, graceMs: 0 });
}

/** The living processes that carry a marker in their environment. */
export function markedProcesses(marker: Marker): readonly FoundProcess[] {
  const table = processTable();
  return [...marked(table, marker)].map((pid) => describe(table.get(pid))).filter((found) => found !== undefined);
}

function marked(table: ReadonlyMap<number, ProcessRow>, marker: Marker): Set<number> {
  const entries = Object.entries(markerEnvironment(marker)).map(([name, value]) => `${name}=${value}`);
  const carries = (pid: number): boolean => {
    const environment = new Set(environmentOf(pid));
    return entries.every((entry) => environment.has(entry));
  };
  return new Set([...table.keys()].filter(carries));
}

async function find(request: StopEverything): Promise<readonly FoundProcess[]> {
  const table = processTable();
  const roots = marked(table, request.marker);
  if (request.lockFile !== undefined) {
    const holders = holdersOf(table, request.lockFile);
    // The name is read after the holders were seen: a supervisor writes its name before any process has the lock as its
    // standard input, so these holders are those of this name, or of nobody any more.
    if (holders.length > 0 && (await isHolder(request.lockFile, request.marker))) {
      for (const pid of holders) roots.add(pid);
    }
  }
  for (const row of table.values()) if (row.session === request.session) roots.add(row.pid);
  // Before the descendants: an agent that was itself started with a marker must not lose all its children.
  const spared = ancestorsOf(table, process.pid);
  for (const pid of spared) roots.delete(pid);
  return [...withDescendants(table, roots)]
    .filter((pid) => !spared.has(pid))
    .map((pid) => describe(table.get(pid)))
    .filter((found) => found !== undefined);
}

function holdersOf(table: ReadonlyMap<number, ProcessRow>, lockFile: string): readonly number[] {
  try {
    const file = statSync(lockFile, { bigint: true });
    const name = basename(realpathSync(lockFile));
    return [...table.keys()].filter((pid) => readsFrom(pid, name, file));
  } catch {
    return []; // No lock file: no trainer ever ran here.
  }
}

async function isHolder(lockFile: string, marker: Marker): Promise<boolean> {
  const holder = await readLockHolder(lockFile);
  return Object.entries(markerEnvironment(marker)).every(([name, value]) => holder?.marker[name] === value);
}

function withDescendants(table: ReadonlyMap<number, ProcessRow>, roots: ReadonlySet<number>): Set<number> {
  const found = new Set(roots);
  // A child may stand before its parent in the table, so go round until a round adds nothing.
  for (let size = -1; size !== found.size;) {
    size = found.size;
    for (const row of table.values()) if (found.has(row.ppid)) found.add(row.pid);
  }
  return found;
}

function ancestorsOf(table: ReadonlyMap<number, ProcessRow>, pid: number): Set<number> {
  const found = new Set([0, 1]);
  for (let at: number | undefined = pid; at !== undefined && !found.has(at); at = table.get(at)?.ppid) found.add(at);
  return found;
}

function signal(
  processes: readonly FoundProcess[],
  name: 'SIGTERM' | 'SIGKILL',
  sent: Map<string, FoundProcess>,
): void {
  for (const found of processes) {
    if (readProcess(found.pid)?.start !== found.start) continue; // Gone, and its pid perhaps a stranger's by now.
    try {
      process.kill(found.pid, name);
      sent.set(`${found.pid}/${found.start}`, found);
    } catch {
      // Gone in between, or another user's: then it is found again, and reported as left.
    }
  }
}

async function lockState(request: StopEverything, living: readonly FoundProcess[]): Promise<StopReport['lock']> {
  if (request.lockFile === undefined) return 'not-asked';
  if (living.length > 0) return 'held'; // Asking disturbs others; it proves nothing yet.
  try {
    statSync(request.lockFile);
  } catch {
    return 'free';
  }
  if (await isLockFree(request.lockFile)) return 'free';
  return (await isHolder(request.lockFile, request.marker)) ? 'held' : 'another';
}

function describe(row: ProcessRow | undefined): FoundProcess | undefined {
  return row && { pid: row.pid, start: row.start, command: commandOf(row.pid) };
}

function report(
  marker: Marker,
  signalled: readonly FoundProcess[],
  left: readonly FoundProcess[],
  lock: StopReport['lock'],
): StopReport {
  const killed = signalled.filter((sent) => !left.some(({ pid, start }) => pid === sent.pid && start === sent.start));
  const gone = left.length === 0 && lock !== 'held';
  const rest = left.map(({ pid, command }) => `${pid} (${command})`).join(', ') || 'an unknown holder of the host lock';
  const message = gone
    ? `Nothing of ${describeMarker(marker)} is left on this host; ${killed.length} processes were ended.`
    : `Of ${describeMarker(marker)} there is still ${rest} on this host after SIGKILL: the host must not be used again before it is gone, if need be by a restart of the machine.`;
  return { killed, left, lock, gone, message };
}

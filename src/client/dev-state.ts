/** What `anneal dev` writes into its state folder, so that every command finds it without being told. */
import { readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

/** One process that `anneal dev` started; the start time tells it from a later process with the same id. */
export interface DevChild {
  readonly name: string;
  readonly pid: number;
  /** Clock ticks after boot, field 22 of /proc/<pid>/stat. */
  readonly startTicks: string;
}

export interface DevState {
  readonly pid: number;
  readonly startTicks: string;
  /** Host and port of Temporal's gRPC service. */
  readonly address: string;
  readonly uiUrl: string;
  /** The control worker's metrics; an older `anneal dev` had none. */
  readonly metricsUrl?: string;
  readonly namespace: string;
  /** The store: an absolute folder, or the address of one on S3. No secret is in it. */
  readonly store: string;
  readonly cluster: string;
  readonly children: readonly DevChild[];
}

export const STATE_FOLDER = '.anneal';
export const DEV_STATE_FILE = 'dev.json';

/** State folders that a folder may hold, the one that is meant first if both are alive. */
const STATE_FOLDERS = [STATE_FOLDER, join(STATE_FOLDER, 'demo')];

/** The nearest state at or above a folder: of a living `anneal dev` or demo if there is one, else of one that has ended. */
export function findDevState(from: string): DevState | undefined {
  let folder = resolve(from);
  for (;;) {
    const states = STATE_FOLDERS.map((name) => readDevState(join(folder, name))).filter((state) => state !== undefined);
    const found = states.find(({ pid }) => isThere(pid)) ?? states[0];
    if (found !== undefined) return found;
    const parent = dirname(folder);
    if (parent === folder) return undefined;
    folder = parent;
  }
}

/** Enough to choose between two state files; who means to end a process checks its start time as well. */
function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** The state in one folder; undefined when there is none, or it is not whole (it is written by rename, so it never is half). */
export function readDevState(folder: string): DevState | undefined {
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(join(folder, DEV_STATE_FILE), 'utf8'));
  } catch {
    return undefined;
  }
  return isDevState(content) ? content : undefined;
}

function isDevState(content: unknown): content is DevState {
  if (content === null || typeof content !== 'object') return false;
  const fields = content as Record<string, unknown>;
  const texts = ['address', 'uiUrl', 'namespace', 'store', 'cluster', 'startTicks'];
  return (
    typeof fields['pid'] === 'number' &&
    Array.isArray(fields['children']) &&
    texts.every((key) => typeof fields[key] === 'string')
  );
}

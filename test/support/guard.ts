/** The process that outlives a test file and cleans up its folder and all processes that work on it, however the file ends. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const GUARD = join(import.meta.dirname, 'folder-guard.mjs');
const KEEP_FILE = 'KEEP';
const STOP_LIMIT_MS = 60_000;

/** Set `ANNEAL_E2E_KEEP` to look at the folder afterwards. */
export function startGuard(root: string): ChildProcess {
  const keep = process.env['ANNEAL_E2E_KEEP'] === undefined ? [] : ['keep'];
  return spawn(process.execPath, [GUARD, root, ...keep], { stdio: ['pipe', 'ignore', 'inherit'], detached: true });
}

/** The guard leaves the folder, as if `ANNEAL_E2E_KEEP` had been set. */
export async function keepFolder(root: string): Promise<void> {
  await writeFile(join(root, KEEP_FILE), '');
}

export async function endGuard(guard: ChildProcess): Promise<void> {
  if (guard.exitCode !== null || guard.signalCode !== null) return;
  guard.stdin?.end();
  await once(guard, 'exit', { signal: AbortSignal.timeout(STOP_LIMIT_MS) });
}

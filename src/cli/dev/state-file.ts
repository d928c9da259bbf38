/** Writes the state of `anneal dev`, whole or not at all. */
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DEV_STATE_FILE, type DevState } from '../../client/dev-state.js';

export function writeDevState(folder: string, state: DevState): void {
  const path = join(folder, DEV_STATE_FILE);
  // The pid in the name: a dev that was killed in the middle leaves its own file, which nobody reads.
  const temporary = `${path}.${String(process.pid)}.tmp`;
  writeFileSync(temporary, `${JSON.stringify(state, null, 2)}\n`, { mode: 0o600 });
  renameSync(temporary, path);
}

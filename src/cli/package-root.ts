/** Where this package lies: its trainer, its examples, its own command. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The same two steps up from `dist/cli` and from `src/cli`. */
export const PACKAGE_ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** The built command: what `anneal dev` starts as worker and agents, as a cluster would. */
export const COMMAND_FILE = join(PACKAGE_ROOT, 'dist', 'cli', 'main.js');

export function packageVersion(): string {
  const { version } = JSON.parse(readFileSync(join(PACKAGE_ROOT, 'package.json'), 'utf8')) as {
    readonly version: string;
  };
  return version;
}

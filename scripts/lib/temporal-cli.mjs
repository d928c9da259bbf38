/** Finds the Temporal CLI, whose dev server `anneal dev` and the tests run. `src/cli` resolves it in the same order. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './files.mjs';
import { LEAST_TEMPORAL_CLI } from './pins.mjs';
import { findAllOnPath, run } from './run.mjs';
import { UserError } from './say.mjs';
import { isAtLeast, parseVersion } from './versions.mjs';

/**
 * $TEMPORAL_CLI_PATH, which must be there when set; `temporal` on PATH when new enough; the one of our environment,
 * whose SHA-256 was checked when the environment was made.
 * @returns {Promise<{ did: string, value: string }>}
 */
export async function findTemporalCli() {
  const named = process.env['TEMPORAL_CLI_PATH'];
  if (named) {
    const version = await versionOf(named);
    if (version) return { did: `${version.join('.')} by TEMPORAL_CLI_PATH`, value: named };
    throw new UserError(
      `TEMPORAL_CLI_PATH is ${JSON.stringify(named)}, which ${existsSync(named) ? 'does not run as a Temporal CLI' : 'does not exist'}.\n` +
        'Correct it, or unset it and the CLI on PATH or in .venv is taken.',
    );
  }
  for (const path of findAllOnPath('temporal')) {
    const version = await versionOf(path);
    if (isAtLeast(version, LEAST_TEMPORAL_CLI)) return { did: `${version?.join('.')} on PATH`, value: path };
  }
  const ours = join(root, '.venv/bin/temporal');
  if (existsSync(ours)) return { did: '1.8.2 in .venv', value: ours };
  throw new UserError(
    'No Temporal CLI was found. Install Temporal CLI 1.8 or newer and put it on PATH, or name it by TEMPORAL_CLI_PATH.',
  );
}

/** @param {string} path */
async function versionOf(path) {
  const { code, stdout } = await run(path, ['--version'], { timeoutMs: 20_000 });
  return code === 0 && stdout.startsWith('temporal version') ? parseVersion(stdout) : undefined;
}

/** versitygw, the S3 server of the tests and of `--store s3`: built once by Go, in the cache. Go checks its source by the checksum database. */
import { existsSync, mkdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { findAllOnPath, lastLines, run, withRetries } from './run.mjs';
import { formatBytes, UserError } from './say.mjs';

const VERSION = 'v1.8.0';
const MODULE = `github.com/versity/versitygw/cmd/versitygw@${VERSION}`;
/** Three minutes on two cores; many times that on a busy machine. */
const BUILD_LIMIT_MS = 30 * 60_000;

const cache = process.env['ANNEAL_CACHE'] || join(homedir(), '.cache/anneal');
const folder = join(cache, 'tools', `versitygw-${VERSION}`);
/** Where it is, once it is built. `src/cli/dev/s3-server.ts` looks in the same place. */
export const VERSITYGW = join(folder, 'versitygw');

/** @returns {boolean} */
export function canBuildVersitygw() {
  return findAllOnPath('go').length > 0;
}

/** @returns {Promise<{ did: string, value: string }>} the program */
export async function ensureVersitygw() {
  if (existsSync(VERSITYGW)) return { did: `${VERSION} in the cache`, value: VERSITYGW };
  if (!canBuildVersitygw()) {
    throw new UserError(
      `The S3 server versitygw ${VERSION} is built by Go, and there is no "go" on PATH. Install Go 1.24 or newer, then start again.`,
    );
  }
  const partial = join(folder, `partial-${process.pid}`);
  mkdirSync(partial, { recursive: true });
  try {
    const built = await withRetries('versitygw', () =>
      run('go', ['install', MODULE], { env: { GOBIN: partial }, timeoutMs: BUILD_LIMIT_MS }),
    );
    if (built.code !== 0) throw new UserError(`Go could not build ${MODULE}.\n${lastLines(built)}`);
    renameSync(join(partial, 'versitygw'), VERSITYGW);
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
  return { did: `${VERSION} built by Go, ${formatBytes(statSync(VERSITYGW).size)} in ${folder}`, value: VERSITYGW };
}

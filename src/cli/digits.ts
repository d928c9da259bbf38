/** The data set of the demo: written once, by the trainer's own recipe, to where the demo's spec expects it. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { inheritedEnvironment } from '../process/marker.js';
import { CommandError } from './exit-codes.js';
import { PACKAGE_ROOT } from './package-root.js';

/** Some seconds of work; a machine that needs minutes is stuck. */
const LIMIT_MS = 180_000;

/** Written beside it and renamed, so that the folder is whole if it is there. */
export async function ensureDigits(folder: string, signal: AbortSignal): Promise<'written' | 'there'> {
  if (existsSync(folder)) return 'there';
  const temporary = `${folder}.${String(process.pid)}.tmp`;
  await mkdir(dirname(folder), { recursive: true });
  const python = join(PACKAGE_ROOT, '.venv', 'bin', 'python');
  try {
    await promisify(execFile)(python, ['-m', 'anneal_trainer.digits', '--out', temporary], {
      cwd: join(PACKAGE_ROOT, 'trainer'),
      env: { ...inheritedEnvironment(process.env), PYTHONDONTWRITEBYTECODE: '1' },
      timeout: LIMIT_MS,
      signal,
    });
    await rename(temporary, folder);
    return 'written';
  } catch (error) {
    signal.throwIfAborted();
    // Another demo was faster: what it wrote is the same.
    if (existsSync(folder)) return 'there';
    throw new CommandError(
      'failed',
      `The demo's data set could not be written to ${folder}: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

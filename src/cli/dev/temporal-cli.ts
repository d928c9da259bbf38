/** Finds the `temporal` program: what the user names, else PATH, else what set-up installed. */
import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { CommandError } from '../exit-codes.js';

/** Older ones lack flags that we give. */
const LEAST_VERSION = [1, 8] as const;
/** A program that does not answer for this long is not the one that is meant. */
const VERSION_TIMEOUT_MS = 10_000;

export interface Look {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The package's root, below which set-up puts `.venv`. */
  readonly root: string;
}

/** Throws with what to do when there is none; a set `TEMPORAL_CLI_PATH` that is wrong is an error, never a reason to look on. */
export async function findTemporalCli({ env, root }: Look): Promise<string> {
  const named = env['TEMPORAL_CLI_PATH'];
  if (named !== undefined && named !== '') {
    if (await canRun(named)) return named;
    throw new CommandError(
      'failed',
      `TEMPORAL_CLI_PATH is ${named}, but there is no program that can be run. Correct it, or unset it.`,
    );
  }
  for (const folder of (env['PATH'] ?? '').split(delimiter).filter((part) => part !== '')) {
    const program = join(folder, 'temporal');
    if ((await canRun(program)) && isNewEnough(await versionOf(program))) return program;
  }
  const installed = join(root, '.venv', 'bin', 'temporal');
  if (await canRun(installed)) return installed;
  throw new CommandError(
    'failed',
    `There is no Temporal CLI ${LEAST_VERSION.join('.')} or newer, neither on PATH nor in ${installed}. Run "npm run setup", or set TEMPORAL_CLI_PATH.`,
  );
}

/** `temporal version 1.8.2 (Server 1.31.2, UI 2.50.1)` → [1, 8]. */
export function parseTemporalVersion(text: string): readonly [number, number] | undefined {
  const [, major, minor] = /version (\d+)\.(\d+)/.exec(text) ?? [];
  return major === undefined || minor === undefined ? undefined : [Number(major), Number(minor)];
}

export function isNewEnough(version: readonly [number, number] | undefined): boolean {
  if (version === undefined) return false;
  return version[0] > LEAST_VERSION[0] || (version[0] === LEAST_VERSION[0] && version[1] >= LEAST_VERSION[1]);
}

async function versionOf(program: string): Promise<readonly [number, number] | undefined> {
  try {
    const { stdout } = await promisify(execFile)(program, ['--version'], { timeout: VERSION_TIMEOUT_MS });
    return parseTemporalVersion(stdout);
  } catch {
    return undefined;
  }
}

async function canRun(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

/** The S3 server of a laptop (`--store s3`): versitygw over a folder of the state, on this machine alone, with a secret of its own. */
import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { access, mkdir, readFile, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { S3Settings } from '../../storage/store-settings.js';
import { poll } from '../../process/wait.js';
import { CommandError } from '../exit-codes.js';
import type { KeptSpec } from './kept-process.js';
import { findPort, LOOPBACK } from './ports.js';

const FIRST_PORT = 7070;
const BUCKET = 'anneal';
const ACCESS_KEY = 'anneal';
/** Starts within a second; on a busy machine in several. */
const READY_LIMIT_MS = 60_000;
/** Where `npm run setup:s3` puts it (scripts/lib/versitygw.mjs). */
const IN_CACHE = join('tools', 'versitygw-v1.8.0', 'versitygw');

/** Everything of it lies below this folder of the state. */
export const S3_FOLDER = 's3';

export interface S3ServerPlace {
  readonly folder: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The caller's own environment, to find the program in. */
  readonly lookIn: Readonly<Record<string, string | undefined>>;
}

/** What to keep running, and the settings of the store behind it. */
export async function s3Server({ folder, env, lookIn }: S3ServerPlace): Promise<{ server: KeptSpec; s3: S3Settings }> {
  const program = await findVersitygw(lookIn);
  const data = join(folder, S3_FOLDER, 'data');
  // To this server a folder is a bucket.
  await mkdir(join(data, BUCKET), { recursive: true });
  const credentialsFile = join(folder, S3_FOLDER, 'credentials');
  const secret = await secretIn(credentialsFile);
  const port = await findPort(FIRST_PORT);
  const server: KeptSpec = {
    name: 's3',
    program,
    // Without --keep-alive every request is a connection of its own, which makes small files four times slower.
    args: ['--port', `${LOOPBACK}:${String(port)}`, '--quiet', '--keep-alive', 'posix', data],
    env: { ...env, ROOT_ACCESS_KEY: ACCESS_KEY, ROOT_SECRET_KEY: secret },
    cwd: folder,
    logFile: join(folder, 'logs', 's3.log'),
  };
  const endpoint = `http://${LOOPBACK}:${String(port)}`;
  const s3 = { endpoint, bucket: BUCKET, prefix: '', pathStyle: true, credentialsFile, fencing: 'strict' } as const;
  return { server, s3 };
}

export async function waitForS3(s3: S3Settings | undefined, signal: AbortSignal): Promise<void> {
  const endpoint = s3?.endpoint ?? '';
  const check = (): Promise<true | undefined> =>
    fetch(endpoint).then(
      () => true,
      () => undefined,
    );
  if ((await poll(check, { timeoutMs: READY_LIMIT_MS, pollMs: 100, signal })) === undefined)
    throw new CommandError(
      'failed',
      `The S3 server at ${endpoint} is not ready after ${String(READY_LIMIT_MS / 1000)} s.`,
    );
}

async function findVersitygw(env: S3ServerPlace['env']): Promise<string> {
  const cache = env['ANNEAL_CACHE'] ?? join(homedir(), '.cache', 'anneal');
  const onPath = (env['PATH'] ?? '').split(delimiter).filter((part) => part !== '');
  for (const program of [join(cache, IN_CACHE), ...onPath.map((folder) => join(folder, 'versitygw'))]) {
    const canRun = await access(program, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (canRun) return program;
  }
  throw new CommandError(
    'failed',
    'There is no S3 server versitygw on this machine. Run "npm run setup:s3", which needs Go, or give the address of a server that ' +
      'runs: --store "s3://BUCKET?endpoint=URL&pathStyle=true".',
  );
}

/** Made once for a state folder, readable by its owner only, and kept: the server knows its buckets' owner by it. */
async function secretIn(file: string): Promise<string> {
  const existing = await readFile(file, 'utf8').catch(() => '');
  const found = /^aws_secret_access_key = (\S+)$/m.exec(existing)?.[1];
  if (found !== undefined) return found;
  const secret = randomBytes(24).toString('hex');
  const text = `[default]\naws_access_key_id = ${ACCESS_KEY}\naws_secret_access_key = ${secret}\n`;
  await writeFile(file, text, { mode: 0o600 });
  return secret;
}

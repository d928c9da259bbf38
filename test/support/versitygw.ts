/** A real S3 server for tests: versitygw on a folder and a port of its own. Where it is not built, tests that need it are skipped, loudly. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { VERSITYGW } from '../../scripts/lib/versitygw.mjs';
import type { S3Settings } from '../../src/storage/store-settings.js';
import { freePort } from './temporal.js';
import { until } from './until.js';

const START_LIMIT_MS = 20_000;
const bucket = 'anneal';

/** True when there is no server to test with. Where one is required (in continuous integration), that is an error instead. */
export function noGateway(): boolean {
  if (existsSync(VERSITYGW)) return false;
  const message = `There is no versitygw in ${VERSITYGW}: nothing is tested on S3. Install Go, then run "npm run setup:s3".`;
  if (process.env['ANNEAL_REQUIRE_S3'] !== undefined) throw new Error(message);
  console.warn(`\n!! SKIPPED: ${message}\n`);
  return true;
}

export class Gateway {
  /** Everything of it lies here. */
  readonly folder: string;
  readonly endpoint: string;
  readonly #port: number;
  #child: ChildProcess | undefined;

  private constructor(folder: string, port: number) {
    this.folder = folder;
    this.#port = port;
    this.endpoint = `http://127.0.0.1:${String(port)}`;
  }

  /** 0 while it does not run. */
  get pid(): number {
    return this.#child?.pid !== undefined && this.#child.exitCode === null && this.#child.signalCode === null
      ? this.#child.pid
      : 0;
  }

  /** Objects as plain files by their keys. */
  get objects(): string {
    return join(this.folder, 'data', bucket);
  }

  /** In a temporary folder, unless one is named. */
  static async start(within?: string): Promise<Gateway> {
    const folder = within ?? (await mkdtemp(join(tmpdir(), 'anneal-s3-')));
    const gateway = new Gateway(folder, await freePort());
    // A folder is a bucket.
    await mkdir(join(folder, 'data', bucket), { recursive: true });
    await writeFile(gateway.#credentials, '[default]\naws_access_key_id = test\naws_secret_access_key = testsecret\n');
    process.once('exit', () => gateway.#child?.kill('SIGKILL'));
    await gateway.run();
    return gateway;
  }

  /** Starts it, also after `kill`, on the same port and folder. */
  async run(): Promise<void> {
    const args = [
      '--port',
      `127.0.0.1:${String(this.#port)}`,
      '--quiet',
      '--keep-alive',
      'posix',
      join(this.folder, 'data'),
    ];
    const env = { ROOT_ACCESS_KEY: 'test', ROOT_SECRET_KEY: 'testsecret' };
    this.#child = spawn(VERSITYGW, args, { env, stdio: 'ignore' });
    await until('versitygw answers', START_LIMIT_MS, async () => {
      if (this.#child?.exitCode !== null) throw new Error(`versitygw has ended with ${String(this.#child?.exitCode)}.`);
      return (await fetch(this.endpoint).catch(() => undefined)) === undefined ? undefined : true;
    });
  }

  async kill(): Promise<void> {
    if (this.#child === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }

  async dispose(): Promise<void> {
    await this.kill();
    await rm(this.folder, { recursive: true, force: true });
  }

  /** The settings of a store below this prefix. */
  settings(prefix: string, more: Partial<S3Settings> = {}): S3Settings {
    const place = { endpoint: this.endpoint, bucket, prefix, pathStyle: true, credentialsFile: this.#credentials };
    return { ...place, fencing: 'strict', ...more };
  }

  get #credentials(): string {
    return join(this.folder, 'credentials');
  }
}

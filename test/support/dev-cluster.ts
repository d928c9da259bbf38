/** A whole `anneal dev` for one test file: real processes of the built command, in a folder and on ports of their own. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { openSync, closeSync, readFileSync } from 'node:fs';
import { mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { readDevState, type DevState } from '../../src/client/dev-state.js';
import { Anneal } from '../../src/client/index.js';
import { FolderStore } from '../../src/storage/folder-store.js';
import type { ObjectStore } from '../../src/storage/object-store.js';
import { openStore } from '../../src/storage/open-store.js';
import { parseStoreAddress } from '../../src/storage/store-settings.js';
import { hostName } from '../../src/cli/dev/configs.js';
import { processesOf } from './folder-processes.mjs';
import { endGuard, startGuard } from './guard.js';
import type { Place } from './place.js';
import { unreplayable } from './replay.js';
import { REPOSITORY } from './small-run.js';
import { freePort, TEMPORAL_CLI } from './temporal.js';
import { until } from './until.js';

const COMMAND = join(REPOSITORY, 'bin', 'anneal.mjs');
/** On two busy cores Temporal, a worker and two agents need half a minute. */
const START_LIMIT_MS = 120_000;
const STOP_LIMIT_MS = 60_000;

export interface Answer {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class DevCluster implements Place {
  /** Everything of this cluster lies below it, and every process of it names it. */
  readonly root: string;
  readonly anneal: Anneal;
  /** Those that the dev itself keeps. */
  readonly hosts: readonly string[];
  readonly #start: () => ChildProcess;
  readonly #kept: number;
  #dev: ChildProcess;
  readonly #guard: ChildProcess;

  private constructor(parts: {
    root: string;
    anneal: Anneal;
    kept: number;
    agents: number;
    start: () => ChildProcess;
    dev: ChildProcess;
    guard: ChildProcess;
  }) {
    this.root = parts.root;
    this.anneal = parts.anneal;
    this.#kept = parts.kept;
    this.hosts = Array.from({ length: parts.agents }, (_, index) => hostName(index));
    this.#start = parts.start;
    this.#dev = parts.dev;
    this.#guard = parts.guard;
  }

  /** Resolves when the server answers and all agents are known to the pool. */
  static async start({ agents, store }: { readonly agents: number; readonly store?: 's3' }): Promise<DevCluster> {
    const root = await realpath(await mkdtemp(join(tmpdir(), 'anneal-e2e-')));
    // Temporal, the control worker, perhaps an S3 server.
    const kept = agents + (store === undefined ? 2 : 3);
    const guard = startGuard(root);
    try {
      const start = await devStarter(root, agents, store);
      const dev = start();
      const anneal = await until('the server of the dev cluster answers', START_LIMIT_MS, () => {
        if (hasEnded(dev)) throw new Error(`"anneal dev" has ended: ${readFileSync(join(root, 'dev.log'), 'utf8')}`);
        const state = readDevState(stateOf(root));
        if (state === undefined || state.children.length < kept) return undefined;
        return Anneal.connect({ stateDir: stateOf(root) }).catch(() => undefined);
      });
      const cluster = new DevCluster({ root, anneal, agents, kept, start, dev, guard });
      await cluster.hostsLive(agents);
      return cluster;
    } catch (error) {
      await endGuard(guard);
      throw error;
    }
  }

  get stateDir(): string {
    return stateOf(this.root);
  }

  /** The store's objects as files; those of its S3 server lie as files as well. */
  get storeFolder(): string {
    const { bucket } = parseStoreAddress(this.state.store).s3 ?? {};
    return bucket === undefined ? join(this.stateDir, 'store') : join(this.stateDir, 's3', 'data', bucket);
  }

  get store(): FolderStore {
    return new FolderStore(this.storeFolder);
  }

  /** The store, of whatever kind it is. */
  openStore(): Promise<ObjectStore> {
    return openStore(parseStoreAddress(this.state.store));
  }

  get state(): DevState {
    const state = readDevState(this.stateDir);
    if (state === undefined) throw new Error(`There is no state of a dev in ${this.stateDir}.`);
    return state;
  }

  /** Whether every process that the dev keeps is there. */
  get isComplete(): boolean {
    return this.state.children.length === this.#kept;
  }

  /** What the dev itself has said so far. */
  get said(): string {
    return readFileSync(join(this.root, 'dev.log'), 'utf8');
  }

  workRoot(host: string): string {
    return join(this.stateDir, 'hosts', host, 'work');
  }

  /** The process that the dev keeps under this name now: `temporal`, `worker`, `host-a`, ...; `dev` is itself. */
  pidOf(name: string): number {
    if (name === 'dev') return this.#devPid;
    const child = this.state.children.find((one) => one.name === name);
    if (child === undefined) throw new Error(`The dev keeps no process "${name}" at this moment.`);
    return child.pid;
  }

  get #devPid(): number {
    if (this.#dev.pid === undefined) throw new Error('"anneal dev" could not be started.');
    return this.#dev.pid;
  }

  /** What a user does whose `anneal dev` was killed: the same command again. */
  async startDevAgain(): Promise<void> {
    if (!hasEnded(this.#dev)) await once(this.#dev, 'exit', { signal: AbortSignal.timeout(STOP_LIMIT_MS) });
    this.#dev = this.#start();
  }

  /** From now on a server that is started waits; the one that runs is not touched. */
  async holdServer(): Promise<void> {
    await writeFile(holdFile(this.root), '');
  }

  async releaseServer(): Promise<void> {
    await rm(holdFile(this.root), { force: true });
  }

  async hostsLive(count: number): Promise<void> {
    await until(`${String(count)} hosts are live`, START_LIMIT_MS, async () => {
      const hosts = await this.anneal.hosts.list().catch(() => []);
      return hosts.filter(({ live }) => live).length >= count || undefined;
    });
  }

  /** Runs `anneal` as a user would who names the state folder; never throws for its exit code. */
  async cli(...args: readonly string[]): Promise<Answer> {
    return annealCommand(...args, '--state-dir', this.stateDir);
  }

  /** Ends everything as Ctrl-C does, then by force; returns what the dev itself had left, and which histories do not replay. */
  async stop(): Promise<readonly string[]> {
    try {
      await this.anneal.close();
      const broken = hasEnded(this.#dev) ? [] : await unreplayable(this.state.address);
      if (!hasEnded(this.#dev)) {
        this.#dev.kill('SIGINT');
        await once(this.#dev, 'exit', { signal: AbortSignal.timeout(STOP_LIMIT_MS) });
      }
      const left = processesOf(this.root, [this.#guard.pid ?? 0]);
      return [...broken, ...left.map(({ pid, command }) => `${String(pid)} ${command.join(' ')}`)];
    } finally {
      await endGuard(this.#guard);
    }
  }
}

/** Runs the built command in the repository's environment, free of settings that would send it elsewhere. */
export async function annealCommand(...args: readonly string[]): Promise<Answer> {
  const { exitCode, stdout, stderr } = await execa(process.execPath, [COMMAND, ...args], {
    env: cleanEnvironment(),
    extendEnv: false,
    cwd: tmpdir(),
    reject: false,
    timeout: 60_000,
  });
  return { code: exitCode ?? -1, stdout, stderr };
}

export function cleanEnvironment(): Record<string, string> {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(TEMPORAL|ANNEAL(?!_CACHE$)|VITEST|NODE_OPTIONS)/.test(name),
  );
  return Object.fromEntries(kept.filter((entry): entry is [string, string] => entry[1] !== undefined));
}

const stateOf = (root: string): string => join(root, 'state');

const holdFile = (root: string): string => join(root, 'hold-server');

/** The command with which this cluster's dev is started, each time on the same folder and port. */
async function devStarter(root: string, agents: number, store: 's3' | undefined): Promise<() => ChildProcess> {
  const port = await freePort();
  const args = [COMMAND, 'dev', '--state-dir', stateOf(root), '--agents', String(agents), '--port', String(port)];
  if (store !== undefined) args.push('--store', store);
  const env = { ...cleanEnvironment(), TEMPORAL_CLI_PATH: await holdableServer(root) };
  return () => {
    const log = openSync(join(root, 'dev.log'), 'a');
    const dev = spawn(process.execPath, args, { cwd: root, env, stdio: ['ignore', log, log] });
    closeSync(log);
    return dev;
  };
}

/** The Temporal CLI, except that it waits for as long as a file is there: so a test says how long a killed server is down. */
async function holdableServer(root: string): Promise<string> {
  const program = join(root, 'temporal');
  const script = `#!/bin/sh\nwhile [ -e "${holdFile(root)}" ]; do sleep 0.05; done\nexec "${TEMPORAL_CLI}" "$@"\n`;
  await writeFile(program, script, { mode: 0o755 });
  return program;
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

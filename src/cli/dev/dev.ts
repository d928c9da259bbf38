/** One machine as a cluster: Temporal, control worker and agents under one state folder, kept alive, and ended together. */
import { mkdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type DevState, readDevState } from '../../client/dev-state.js';
import { takeAgentLock } from '../../process/host-lock.js';
import { readProcess } from '../../process/proc.js';
import { CommandError } from '../exit-codes.js';
import { openStoreToWrite } from '../../storage/open-store.js';
import { formatStoreAddress } from '../../storage/store-settings.js';
import { DEV_CLUSTER, workersOf } from './configs.js';
import { devStore, refuseOtherStore, refuseToEmpty, STORE_FOLDER } from './dev-store.js';
import { KeptProcess, type KeptSpec } from './kept-process.js';
import { DEV_VARIABLE, devChildren, endAll, hostWork } from './leftovers.js';
import { findPorts, LOOPBACK } from './ports.js';
import { S3_FOLDER, waitForS3 } from './s3-server.js';
import { writeDevState } from './state-file.js';
import { findTemporalCli } from './temporal-cli.js';
import { DEV_NAMESPACE, temporalServer, waitForServer } from './temporal-server.js';
import { PACKAGE_ROOT } from '../package-root.js';

export interface DevOptions {
  readonly stateDir: string;
  readonly agents: number;
  /** The first port that is tried for Temporal; its UI is 1000 above. */
  readonly port: number;
  /** `s3` for an S3 server of its own, or a store's address; left out, a folder in the state folder. */
  readonly store?: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly say: (line: string) => void;
  /** Forget all runs and results of this state folder first. */
  readonly fresh?: boolean;
  /** Aborted when the user wants to end while it still starts. */
  readonly signal: AbortSignal;
}

/** An agent detaches from its trainer within milliseconds and lets short duties end within seconds. */
const STOP_GRACE_MS = 8_000;
const SERVER_GRACE_MS = 5_000;
/** What a killed `anneal dev` left gets less: its agents only have to let go. */
const LEFTOVER_GRACE_MS = 8_000;

/** A running dev; `failed` is aborted when one of its processes cannot be kept. */
export class Dev {
  readonly state: DevState;
  readonly failed: AbortSignal;
  readonly #folder: string;
  readonly #servers: readonly KeptProcess[];
  readonly #workers: readonly KeptProcess[];
  readonly #release: () => Promise<void>;

  constructor(parts: {
    state: DevState;
    failed: AbortSignal;
    folder: string;
    servers: readonly KeptProcess[];
    workers: readonly KeptProcess[];
    release: () => Promise<void>;
  }) {
    this.state = parts.state;
    this.failed = parts.failed;
    this.#folder = parts.folder;
    this.#servers = parts.servers;
    this.#workers = parts.workers;
    this.#release = parts.release;
  }

  /** Ends everything: agents, then what they had running, then the servers. Returns what could not be ended. */
  async stop(): Promise<readonly string[]> {
    await Promise.all(this.#workers.map((worker) => worker.stop(STOP_GRACE_MS)));
    const left = await endAll(() => hostWork(this.#folder), 0);
    await Promise.all(this.#servers.map((server) => server.stop(SERVER_GRACE_MS)));
    writeDevState(this.#folder, { ...this.state, children: [] });
    await this.#release();
    return left.map(({ pid, command }) => `${String(pid)} (${command})`);
  }

  /** The second Ctrl-C: SIGKILL to all, now. */
  async kill(): Promise<void> {
    for (const kept of [...this.#workers, ...this.#servers]) kept.kill();
    await endAll(() => [...devChildren(this.#folder, this.state), ...hostWork(this.#folder)], 0);
  }
}

export async function startDev(options: DevOptions): Promise<Dev> {
  const folder = resolve(options.stateDir);
  await mkdir(join(folder, 'logs'), { recursive: true });
  const release = await takeFolder(folder);
  const started: KeptProcess[] = [];
  try {
    await endLeftovers(folder, options);
    if (options.fresh === true) {
      refuseToEmpty(options.store);
      await forget(folder);
    }
    return await startAll(folder, options, started, release);
  } catch (error) {
    for (const kept of started.toReversed()) await kept.stop(SERVER_GRACE_MS);
    await release();
    throw error;
  }
}

/** Only one `anneal dev` for each state folder: held by a lock that the kernel frees at any death. */
async function takeFolder(folder: string): Promise<() => Promise<void>> {
  const taken = await takeAgentLock(join(folder, 'dev.lock'), 'dev');
  if (taken.kind === 'taken') return () => taken.lock.release();
  const who = taken.holder === undefined ? 'another process' : `process ${String(taken.holder.pid)}`;
  throw new CommandError(
    'failed',
    `"anneal dev" already runs on ${folder}: ${who}. Use it (every command finds it), end it, or give another --state-dir.`,
  );
}

async function endLeftovers(folder: string, { say }: DevOptions): Promise<void> {
  const find = (): ReturnType<typeof devChildren> => devChildren(folder, readDevState(folder));
  const found = find();
  if (found.length === 0) return;
  say(
    `An earlier "anneal dev" was killed; its ${String(found.length)} processes are ended: ${found.map(({ pid }) => String(pid)).join(', ')}. Trainers go on.`,
  );
  const left = await endAll(find, LEFTOVER_GRACE_MS);
  if (left.length > 0)
    throw new CommandError(
      'failed',
      `These processes of an earlier "anneal dev" cannot be ended: ${left.map(({ pid, command }) => `${String(pid)} (${command})`).join(', ')}. End them by hand.`,
    );
}

/** Only what a dev makes itself, by name: the folder may be a mistyped one. */
async function forget(folder: string): Promise<void> {
  await endAll(() => hostWork(folder), 0);
  const made = [STORE_FOLDER, S3_FOLDER, 'hosts', 'temporal.db', 'temporal.db-wal', 'temporal.db-shm'];
  await Promise.all(made.map((name) => rm(join(folder, name), { recursive: true, force: true })));
}

async function startAll(
  folder: string,
  options: DevOptions,
  started: KeptProcess[],
  release: () => Promise<void>,
): Promise<Dev> {
  const { say, signal } = options;
  const failed = new AbortController();
  const own = readProcess(process.pid);
  let state: DevState | undefined;
  const events = {
    say,
    changed: (): void => {
      if (state === undefined) return;
      state = { ...state, children: started.map(({ identity }) => identity).filter((child) => child !== undefined) };
      writeDevState(folder, state);
    },
    gaveUp: (message: string): void => {
      failed.abort(new CommandError('failed', message));
    },
  };
  const keep = (spec: KeptSpec): KeptProcess => {
    const kept = new KeptProcess(spec, events);
    started.push(kept);
    kept.start();
    return kept;
  };

  const env = childEnvironment(options.env, folder);
  const program = await findTemporalCli({ env: options.env, root: PACKAGE_ROOT });
  const ports = await findPorts(options.port);
  if (ports.service !== options.port)
    say(
      `Port ${String(options.port)}, ${String(options.port + 1000)} or ${String(options.port + 2000)} is busy; ${String(ports.service)} is taken.`,
    );
  const address = `${LOOPBACK}:${String(ports.service)}`;
  const metricsAddress = `${LOOPBACK}:${String(ports.metrics)}`;
  const store = await devStore(options.store, { folder, env, lookIn: options.env });
  if (options.fresh !== true) refuseOtherStore(readDevState(folder), store.settings);
  const fixed = {
    address,
    uiUrl: `http://${LOOPBACK}:${String(ports.ui)}`,
    metricsUrl: `http://${metricsAddress}/metrics`,
    namespace: DEV_NAMESPACE,
    store: formatStoreAddress(store.settings),
    cluster: DEV_CLUSTER,
  };
  state = { pid: process.pid, startTicks: String(own?.start ?? 0), ...fixed, children: [] };
  const ready = AbortSignal.any([signal, failed.signal]);
  const specs = [
    temporalServer({ program, folder, ports, env }),
    ...(store.server === undefined ? [] : [store.server]),
  ];
  const servers = specs.map(keep);
  await waitForServer(address, ready);
  if (store.server !== undefined) await waitForS3(store.settings.s3, ready);
  // Said here, and not by every worker in its own log.
  await openStoreToWrite(store.settings);
  const layout = { folder, address, metricsAddress, agents: options.agents, store: store.settings, env };
  const workers = (await workersOf(layout)).map(keep);
  return new Dev({ state, failed: failed.signal, folder, servers, workers, release });
}

/** Marked, so that the next start finds what we leave; and without settings that would send the children to another server. */
function childEnvironment(env: DevOptions['env'], folder: string): Readonly<Record<string, string | undefined>> {
  const kept = Object.entries(env).filter(([name]) => !name.startsWith('TEMPORAL_') && !name.startsWith('ANNEAL_'));
  return { ...Object.fromEntries(kept), [DEV_VARIABLE]: folder };
}

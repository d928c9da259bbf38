/**
 * Four hosts, each behind lines of its own to Temporal and to the store, with short time-outs: real processes of the built command, kept
 * alive as by systemd. The store is versitygw where it is built, else a folder without a line to it.
 */
import { cp, mkdir, mkdtemp, realpath, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { stringify } from 'yaml';
import { temporalServer, waitForServer } from '../../../src/cli/dev/temporal-server.js';
import { Anneal } from '../../../src/client/index.js';
import { formatStoreAddress, type StoreSettings } from '../../../src/storage/store-settings.js';
import { processesOf } from '../folder-processes.mjs';
import { endGuard, keepFolder, startGuard } from '../guard.js';
import { Line } from '../line.js';
import type { Place } from '../place.js';
import { REPOSITORY, RUNTIME_BIN, TRAINER_HOME } from '../small-run.js';
import { freePort, TEMPORAL_CLI } from '../temporal.js';
import { until } from '../until.js';
import { Gateway, noGateway } from '../versitygw.js';
import { Kept, type KeptCommand } from './kept.js';

const COMMAND = join(REPOSITORY, 'bin', 'anneal.mjs');
const NAME = 'chaos';
const HOSTS = ['host-a', 'host-b', 'host-c', 'host-d'];
/** On two busy cores all of them need half a minute. */
const START_LIMIT_MS = 120_000;

/** So short that a round sees them pass. `SECONDS` in schedule.ts are drawn around them. */
const TIMING = { heartbeatSeconds: 5, attachSeconds: 10 };
const LEASE = { leaseTtlSeconds: 15, graceSeconds: 10 };
/** What a work root holds, several times over; and a disk that is soon full. */
const DISK = '200m';

export interface Lines {
  readonly temporal: Line;
  /** Left out with a store that is a folder. */
  readonly store?: Line;
}

export class ChaosCluster implements Place {
  readonly root: string;
  readonly name = NAME;
  readonly hosts = HOSTS;
  readonly storeFolder: string;
  readonly address: string;
  readonly anneal: Anneal;
  readonly gateway: Gateway | undefined;
  /** Whether each host's work root is a file system of its own, which can be full. */
  readonly hasDisks: boolean;
  /** Stopped by a fault, and not to be woken by anything else. */
  readonly frozen = new Set<number>();
  readonly #guard: ReturnType<typeof startGuard>;
  readonly #kept: ReadonlyMap<string, Kept>;
  readonly #lines: ReadonlyMap<string, Lines>;

  private constructor(parts: {
    readonly root: string;
    readonly storeFolder: string;
    readonly address: string;
    readonly anneal: Anneal;
    readonly gateway: Gateway | undefined;
    readonly hasDisks: boolean;
    readonly guard: ReturnType<typeof startGuard>;
    readonly kept: ReadonlyMap<string, Kept>;
    readonly lines: ReadonlyMap<string, Lines>;
  }) {
    this.root = parts.root;
    this.storeFolder = parts.storeFolder;
    this.address = parts.address;
    this.anneal = parts.anneal;
    this.gateway = parts.gateway;
    this.hasDisks = parts.hasDisks;
    this.#guard = parts.guard;
    this.#kept = parts.kept;
    this.#lines = parts.lines;
  }

  /** Resolves when all hosts are known to the pool. `withDisks` needs a mount namespace of our own. */
  static async start({ withDisks }: { readonly withDisks: boolean }): Promise<ChaosCluster> {
    const root = await realpath(await mkdtemp(join(tmpdir(), 'anneal-chaos-')));
    const guard = startGuard(root);
    const gateway = noGateway() ? undefined : await Gateway.start(join(root, 's3'));
    const storeFolder = gateway?.objects ?? join(root, 'store');
    const store: StoreSettings = gateway === undefined ? { folder: storeFolder } : { s3: gateway.settings('') };
    await mkdir(join(root, 'logs'));
    const kept = new Map<string, Kept>();
    const keep = (name: string, command: Pick<KeptCommand, 'program' | 'args'>): void => {
      kept.set(name, new Kept({ ...command, folder: root, logFile: join(root, 'logs', `${name}.log`) }));
    };
    const ports = { service: await freePort(), ui: await freePort() };
    keep('temporal', temporalServer({ program: TEMPORAL_CLI, folder: root, ports, env: {} }));
    const address = `127.0.0.1:${String(ports.service)}`;
    await waitForServer(address, AbortSignal.timeout(START_LIMIT_MS));
    const shared = { cluster: NAME, store, temporal: { address, namespace: 'default' } };
    const settings = async (name: string, body: object): Promise<readonly string[]> => {
      await writeFile(join(root, `${name}.yaml`), stringify(body));
      return ['--config', join(root, `${name}.yaml`)];
    };
    keep('worker', {
      program: process.execPath,
      args: [COMMAND, 'worker', ...(await settings('worker', { ...shared, timing: TIMING }))],
    });
    const lines = new Map<string, Lines>();
    for (const host of HOSTS) {
      const temporal = await Line.open('127.0.0.1', ports.service);
      const { s3 } = store;
      const toStore =
        s3 === undefined ? undefined : await Line.open('127.0.0.1', Number(new URL(s3.endpoint ?? '').port));
      lines.set(host, { temporal, ...(toStore && { store: toStore }) });
      const workRoot = join(root, 'hosts', host);
      await mkdir(workRoot, { recursive: true });
      if (withDisks) await execa('mount', ['-t', 'tmpfs', '-o', `size=${DISK}`, 'tmpfs', workRoot]);
      const file = await settings(host, {
        ...{ cluster: NAME, name: host, address: '127.0.0.1', npus: 1, runtime: 'cpu', ...LEASE },
        ...{ workRoot, runtimeBin: RUNTIME_BIN, trainerHome: TRAINER_HOME },
        temporal: { address: temporal.address, namespace: 'default' },
        store: s3 === undefined || !toStore ? store : { s3: { ...s3, endpoint: `http://${toStore.address}` } },
      });
      keep(host, { program: process.execPath, args: [COMMAND, 'agent', ...file] });
    }
    const anneal = await Anneal.connect({ address, cluster: NAME, store: formatStoreAddress(store) });
    return new ChaosCluster({ root, storeFolder, address, anneal, gateway, hasDisks: withDisks, guard, kept, lines });
  }

  workRoot(host: string): string {
    return join(this.root, 'hosts', host);
  }

  /** Also of `s3`; 0 while there is none. */
  pidOf(name: string): number {
    return name === 's3' ? (this.gateway?.pid ?? 0) : this.kept(name).pid;
  }

  kept(name: string): Kept {
    const found = this.#kept.get(name);
    if (found === undefined) throw new Error(`No process "${name}" is kept.`);
    return found;
  }

  linesOf(host: string): Lines {
    const found = this.#lines.get(host);
    if (found === undefined) throw new Error(`There is no host ${host}.`);
    return found;
  }

  /** All hosts live, proven empty and lent to nobody; what earlier rounds have done to them is forgotten. */
  async ready(limitMs = START_LIMIT_MS): Promise<void> {
    await until('all hosts are live and free', limitMs, async () => {
      const hosts = await this.anneal.hosts.list().catch(() => []);
      const isReady = hosts.every(({ live, owner, vacating }) => live && owner === null && vacating === null);
      return (hosts.length === HOSTS.length && isReady) || undefined;
    });
    for (const host of HOSTS) await this.anneal.hosts.uncordon(host);
  }

  /** Ends everything. With `keep` the folder stays, with what the hosts had on their disks. */
  async stop({ keep = false } = {}): Promise<readonly string[]> {
    await this.anneal.close();
    const names = [...this.#kept.keys()].filter((name) => name !== 'temporal');
    await Promise.all(names.map((name) => this.kept(name).stop()));
    await this.kept('temporal').stop();
    for (const { temporal, store } of this.#lines.values()) await Promise.all([temporal.close(), store?.close()]);
    await this.gateway?.kill();
    const left = processesOf(this.root, [this.#guard.pid ?? 0]).map(({ command }) => command.join(' '));
    if (keep) {
      await keepFolder(this.root);
      // What lies on a file system of our own namespace ends with us.
      if (this.hasDisks)
        for (const host of HOSTS) await cp(this.workRoot(host), `${this.workRoot(host)}.kept`, { recursive: true });
    }
    await endGuard(this.#guard);
    return left;
  }
}

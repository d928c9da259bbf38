/** The settings files and command lines of the processes that `anneal dev` keeps: those that a cluster would use. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { StoreSettings } from '../../storage/store-settings.js';
import { COMMAND_FILE, PACKAGE_ROOT } from '../package-root.js';
import type { KeptSpec } from './kept-process.js';
import { DEV_NAMESPACE } from './temporal-server.js';
import { LOOPBACK } from './ports.js';

export const DEV_CLUSTER = 'dev';

export interface DevLayout {
  /** The absolute state folder. */
  readonly folder: string;
  readonly address: string;
  /** Of the control worker; the agents' metrics are left out on one machine. */
  readonly metricsAddress: string;
  readonly agents: number;
  readonly store: StoreSettings;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** host-a, host-b, ... host-z, host-27, ... */
export function hostName(index: number): string {
  return `host-${index < 26 ? String.fromCharCode(97 + index) : String(index + 1)}`;
}

/** An agent shares its host with trainers: a young heap of 2 MiB instead of 16 takes 50 MB off its peak, as infra/ascend does too. */
const SMALL = ['--max-semi-space-size=2'];

/** Writes the files and returns the processes to keep: one control worker, and the agents. */
export async function workersOf({
  folder,
  address,
  metricsAddress,
  agents,
  store,
  env,
}: DevLayout): Promise<readonly KeptSpec[]> {
  const shared = {
    cluster: DEV_CLUSTER,
    temporal: { address, namespace: DEV_NAMESPACE },
    store,
  };
  const kept = (name: string, command: 'worker' | 'agent', config: string): KeptSpec => ({
    name,
    program: process.execPath,
    args: [...(command === 'agent' ? SMALL : []), COMMAND_FILE, command, '--config', config],
    env,
    cwd: folder,
    logFile: join(folder, 'logs', `${name}.log`),
  });
  const workerConfig = join(folder, 'worker.yaml');
  await writeSettings(workerConfig, { ...shared, metricsAddress });
  const processes = [kept('worker', 'worker', workerConfig)];
  for (let index = 0; index < agents; index += 1) {
    const name = hostName(index);
    // Each host has its own root: agents share no folder but the store, as on a cluster.
    const hostFolder = join(folder, 'hosts', name);
    await mkdir(hostFolder, { recursive: true });
    await writeSettings(join(hostFolder, 'agent.yaml'), {
      ...shared,
      name,
      address: LOOPBACK,
      npus: 1,
      runtime: 'cpu',
      workRoot: join(hostFolder, 'work'),
      runtimeBin: join(PACKAGE_ROOT, '.venv', 'bin'),
      trainerHome: join(PACKAGE_ROOT, 'trainer'),
    });
    processes.push(kept(name, 'agent', join(hostFolder, 'agent.yaml')));
  }
  return processes;
}

async function writeSettings(path: string, settings: object): Promise<void> {
  await writeFile(path, `# Written by "anneal dev" at each start.\n${stringify(settings)}`);
}

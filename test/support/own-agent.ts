/** An agent beside those of `anneal dev`, whose runtime the test has put together itself. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { chmod, copyFile, mkdir, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { AgentConfig } from '../../src/workers/config.js';
import { cleanEnvironment, type DevCluster } from './dev-cluster.js';
import { REPOSITORY, RUNTIME_BIN, TRAINER_HOME } from './small-run.js';
import { until } from './until.js';

const START_LIMIT_MS = 120_000;

/** A runtime of links to the real one, except that its converter lies. Returns its `bin`. */
export async function lyingRuntime(folder: string): Promise<string> {
  const bin = join(folder, 'bin');
  await mkdir(bin, { recursive: true });
  // Python knows by these two that it belongs to an environment, and where that is.
  for (const name of ['pyvenv.cfg', 'lib']) await symlink(join(RUNTIME_BIN, '..', name), join(folder, name));
  for (const name of await readdir(RUNTIME_BIN)) await symlink(join(RUNTIME_BIN, name), join(bin, name));
  const converter = join(bin, 'mm-convert');
  await rm(converter);
  await symlink(join(RUNTIME_BIN, 'mm-convert'), join(bin, 'mm-convert.real'));
  await copyFile(join(import.meta.dirname, 'lying_mm_convert.py'), join(bin, 'lying_mm_convert.py'));
  await writeFile(converter, `#!/bin/sh\nexec "${bin}/python" "${bin}/lying_mm_convert.py" "$@"\n`);
  await chmod(converter, 0o755);
  return bin;
}

/** Starts it; resolves when the pool knows it, with what ends it. Whatever happens, it ends with the cluster's folder. */
export async function startOwnAgent(
  cluster: DevCluster,
  name: string,
  runtimeBin: string,
  trainerHome = TRAINER_HOME,
  more: Partial<AgentConfig> = {},
  path = process.env['PATH'] ?? '',
): Promise<() => Promise<void>> {
  const folder = join(cluster.root, name);
  await mkdir(folder, { recursive: true });
  const { address, namespace } = cluster.state;
  const config: Partial<AgentConfig> = {
    ...{ cluster: cluster.state.cluster, name, address: '127.0.0.1', npus: 1, runtime: 'cpu' },
    ...{ workRoot: join(folder, 'work'), runtimeBin, trainerHome },
    temporal: { address, namespace },
    store: { folder: cluster.storeFolder },
    ...more,
  };
  const file = join(folder, 'agent.yaml');
  await writeFile(file, stringify(config));
  const log = openSync(join(folder, 'agent.log'), 'a');
  const agent = spawn(process.execPath, [join(REPOSITORY, 'bin', 'anneal.mjs'), 'agent', '--config', file], {
    env: { ...cleanEnvironment(), PATH: path },
    cwd: folder,
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  const ended = once(agent, 'exit');
  await until(`agent ${name} is known to the pool`, START_LIMIT_MS, async () => {
    const hosts = await cluster.anneal.hosts.list().catch(() => []);
    return hosts.some(({ facts, live }) => live && facts.name === name) || undefined;
  });
  return async () => {
    agent.kill('SIGTERM');
    await ended;
  };
}

/** Options that say which server, cluster and store are meant; the same for every command. */
import type { Command } from 'commander';
import type { Anneal } from '../client/index.js';
import type { WhereOptions } from '../client/connect.js';

export interface WhereFlags {
  readonly address?: string;
  readonly namespace?: string;
  readonly cluster?: string;
  readonly stateDir?: string;
  readonly store?: string;
}

export function withWhere(command: Command): Command {
  return command
    .option('--address <host:port>', "Temporal's address (default: TEMPORAL_ADDRESS, else the nearest `anneal dev`)")
    .option('--namespace <name>', "Temporal's namespace")
    .option('--cluster <name>', 'cluster of hosts (default: ANNEAL_CLUSTER, else that of `anneal dev`, else "default")')
    .option('--state-dir <folder>', 'state folder of the `anneal dev` that is meant (default: the nearest .anneal)');
}

export function whereOf(flags: WhereFlags): WhereOptions {
  return {
    address: flags.address,
    namespace: flags.namespace,
    cluster: flags.cluster,
    store: flags.store,
    stateDir: flags.stateDir,
    env: process.env,
    cwd: process.cwd(),
  };
}

/** Connects for one command; the connection is closed however the command ends. */
export async function withAnneal<T>(flags: WhereFlags, use: (anneal: Anneal) => Promise<T>): Promise<T> {
  const { Anneal } = await import('../client/index.js');
  const anneal = await Anneal.connect(whereOf(flags));
  try {
    return await use(anneal);
  } finally {
    await anneal.close();
  }
}

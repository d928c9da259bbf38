/** Which Temporal server is meant: what the caller says, else the environment, else the nearest `anneal dev`. */
import type { ConnectionOptions } from '@temporalio/client';
import { findDevState, readDevState } from './dev-state.js';
import { ServerUnreachableError } from './errors.js';

export interface WhereOptions {
  /** Host and port of Temporal's gRPC service. */
  readonly address?: string | undefined;
  readonly namespace?: string | undefined;
  readonly cluster?: string | undefined;
  /** A store's folder or address, for reads of logs; commands only. */
  readonly store?: string | undefined;
  /** The environment to look into; without one, no variable is read. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /** The state folder of the `anneal dev` that is meant; left out, the nearest is looked for. */
  readonly stateDir?: string | undefined;
  /** Where the search for `.anneal/dev.json` begins; without one, the current folder. */
  readonly cwd?: string | undefined;
}

export interface Place {
  readonly address: string;
  readonly namespace: string;
  readonly cluster: string;
  readonly store?: string;
  readonly uiUrl?: string;
  readonly source: 'option' | 'environment' | 'dev';
  readonly connection: ConnectionOptions;
}

const DEFAULT_NAMESPACE = 'default';
const DEFAULT_CLUSTER = 'default';
/** Any of these says that the user means Temporal's own settings, file included. */
const TEMPORAL_VARIABLES = ['TEMPORAL_ADDRESS', 'TEMPORAL_PROFILE', 'TEMPORAL_CONFIG_FILE'];

/** A cut connection is tried again every few seconds; gRPC's own 2 minutes would outlast most outages. */
const CHANNEL_ARGS = { 'grpc.max_reconnect_backoff_ms': 2_000, 'grpc.initial_reconnect_backoff_ms': 200 };

export async function resolvePlace(options: WhereOptions = {}): Promise<Place> {
  const env = options.env ?? {};
  const cluster = options.cluster ?? env['ANNEAL_CLUSTER'];
  const store = options.store ?? env['ANNEAL_STORE'];
  const named = {
    namespace: options.namespace ?? DEFAULT_NAMESPACE,
    cluster: cluster ?? DEFAULT_CLUSTER,
    ...(store === undefined ? {} : { store }),
  };
  if (options.address !== undefined)
    return {
      ...named,
      address: options.address,
      source: 'option',
      connection: { address: options.address, channelArgs: CHANNEL_ARGS },
    };
  if (options.stateDir === undefined && TEMPORAL_VARIABLES.some((name) => env[name])) {
    const { connectionOptions, namespace } = await fromEnvironment(env);
    const address = connectionOptions.address ?? 'localhost:7233';
    return {
      ...named,
      namespace: options.namespace ?? namespace ?? DEFAULT_NAMESPACE,
      address,
      source: 'environment',
      connection: { ...connectionOptions, address, channelArgs: CHANNEL_ARGS },
    };
  }
  const state = options.stateDir === undefined ? findDevState(options.cwd ?? '.') : readDevState(options.stateDir);
  if (state === undefined)
    throw new ServerUnreachableError(
      'No Temporal server is named and no "anneal dev" was started here. ' +
        'Start one with "anneal dev", or give --address HOST:PORT, or set TEMPORAL_ADDRESS.',
    );
  return {
    address: state.address,
    namespace: options.namespace ?? state.namespace,
    cluster: cluster ?? state.cluster,
    store: store ?? state.store,
    uiUrl: state.uiUrl,
    source: 'dev',
    connection: { address: state.address, channelArgs: CHANNEL_ARGS },
  };
}

/** What to say when the resolved server does not answer: it depends on who named it. */
export function unreachable(
  { address, source }: Pick<Place, 'address' | 'source'>,
  cause?: unknown,
): ServerUnreachableError {
  const remedy = {
    option: 'Check the address, and that the server runs.',
    environment: 'Check TEMPORAL_ADDRESS and the Temporal configuration file, and that the server runs.',
    dev: 'The "anneal dev" that had this address has ended or is just starting: run "anneal dev".',
  }[source];
  return new ServerUnreachableError(`No Temporal server answers at ${address}. ${remedy}`, { cause });
}

async function fromEnvironment(
  env: Readonly<Record<string, string | undefined>>,
): Promise<{ connectionOptions: ConnectionOptions; namespace?: string }> {
  const { loadClientConnectConfig } = await import('@temporalio/envconfig');
  const variables = Object.fromEntries(
    Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
  return loadClientConnectConfig({ overrideEnvVars: variables });
}

/** The Temporal dev server of a laptop: on disk, on this machine alone, with our search attributes. */
import { join } from 'node:path';
import type { Connection } from '@temporalio/client';
import { SEARCH_ATTRIBUTES } from '../../contract/names.js';
import { poll } from '../../process/wait.js';
import { CommandError } from '../exit-codes.js';
import type { KeptSpec } from './kept-process.js';
import { LOOPBACK, type DevPorts } from './ports.js';

export const DEV_NAMESPACE = 'default';

/** Starts in 1.2 s on an idle machine; on a busy one with a large database in many more. */
const READY_LIMIT_MS = 60_000;

export interface ServerPlace {
  readonly program: string;
  readonly folder: string;
  readonly ports: Pick<DevPorts, 'service' | 'ui'>;
  readonly env: Readonly<Record<string, string | undefined>>;
}

export function temporalServer({ program, folder, ports, env }: ServerPlace): KeptSpec {
  const attributes = Object.entries(SEARCH_ATTRIBUTES).flatMap(([name, type]) => [
    '--search-attribute',
    `${name}=${type}`,
  ]);
  return {
    name: 'temporal',
    program,
    args: [
      ...['server', 'start-dev', '--ip', LOOPBACK, '--port', String(ports.service), '--ui-port', String(ports.ui)],
      ...['--namespace', DEV_NAMESPACE, '--db-filename', join(folder, 'temporal.db')],
      // Without these two the server is several times slower, since it syncs the file at every write.
      ...['--sqlite-pragma', 'journal_mode=WAL', '--sqlite-pragma', 'synchronous=NORMAL'],
      ...['--ui-disable-news-fetch', '--log-level', 'error'],
      ...attributes,
    ],
    env,
    cwd: folder,
    logFile: join(folder, 'logs', 'temporal.log'),
  };
}

/** Waits until the server answers and knows our search attributes; throws when it does not in time. */
export async function waitForServer(address: string, signal: AbortSignal): Promise<void> {
  const { Connection } = await import('@temporalio/client');
  const check = async (): Promise<true | undefined> => {
    const connection = await Connection.connect({ address, connectTimeout: '1s' }).catch(() => undefined);
    return connection !== undefined && (await isReady(connection)) ? true : undefined;
  };
  if ((await poll(check, { timeoutMs: READY_LIMIT_MS, pollMs: 150, signal })) === undefined)
    throw new CommandError(
      'noServer',
      `The Temporal server at ${address} is not ready after ${String(READY_LIMIT_MS / 1000)} s.`,
    );
}

/** Asks once, and closes the connection. */
async function isReady(connection: Connection): Promise<boolean> {
  try {
    const { customAttributes } = await connection.withDeadline(Date.now() + 2_000, () =>
      connection.operatorService.listSearchAttributes({ namespace: DEV_NAMESPACE }),
    );
    return Object.keys(SEARCH_ATTRIBUTES).every((name) => name in customAttributes);
  } catch {
    return false;
  } finally {
    await connection.close();
  }
}

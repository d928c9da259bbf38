/** A real Temporal dev server for one test file: in memory, on its own ports, ended with the file. */
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { Connection } from '@temporalio/client';
import { SEARCH_ATTRIBUTES } from '../../src/contract/names.js';

/** The set-up of the tests puts it there. */
export const TEMPORAL_CLI =
  process.env['TEMPORAL_CLI_PATH'] ?? fileURLToPath(new URL('../../.venv/bin/temporal', import.meta.url));
const START_LIMIT_MS = 60_000;

export interface TestServer {
  readonly address: string;
  stop(): Promise<void>;
}

/** `known` are the search attributes that it has from the start; `dynamicConfig` is settings of the server, as `name=value`. */
export async function startTemporal(
  known: Readonly<Record<string, string>> = SEARCH_ATTRIBUTES,
  dynamicConfig: readonly string[] = [],
): Promise<TestServer> {
  const port = await freePort();
  const attributes = Object.entries(known).flatMap(([name, type]) => ['--search-attribute', `${name}=${type}`]);
  const ports = ['--ip', '127.0.0.1', '--port', String(port), '--http-port', String(await freePort())];
  const settings = dynamicConfig.flatMap((setting) => ['--dynamic-config-value', setting]);
  const flags = ['--headless', '--log-level', 'never', ...ports, ...attributes, ...settings];
  const server = spawn(TEMPORAL_CLI, ['server', 'start-dev', ...flags], { stdio: 'ignore' });
  const exited = new Promise<void>((resolve) =>
    server.once('exit', () => {
      resolve();
    }),
  );
  const stop = async (): Promise<void> => {
    server.kill('SIGKILL');
    await exited;
  };
  process.once('exit', () => server.kill('SIGKILL'));
  const address = `127.0.0.1:${String(port)}`;
  const deadline = Date.now() + START_LIMIT_MS;
  while (!(await answers(address))) {
    if (Date.now() > deadline || server.exitCode !== null) {
      await stop();
      throw new Error(`The Temporal dev server ${TEMPORAL_CLI} does not answer at ${address}; run "npm run setup".`);
    }
  }
  return { address, stop };
}

async function answers(address: string): Promise<boolean> {
  try {
    const connection = await Connection.connect({ address, connectTimeout: 1000 });
    await connection.workflowService.describeNamespace({ namespace: 'default' });
    await connection.close();
    return true;
  } catch {
    await new Promise((resolve) => setTimeout(resolve, 100));
    return false;
  }
}

export async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => {
        if (address !== null && typeof address === 'object') resolve(address.port);
        else reject(new Error('No port was given.'));
      });
    });
  });
}

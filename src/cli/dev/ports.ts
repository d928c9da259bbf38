/** Ports on this machine alone: the wished one, or the next that is free. */
import { createServer } from 'node:net';
import { CommandError } from '../exit-codes.js';

export const LOOPBACK = '127.0.0.1';

/** Temporal's UI stands by habit this far above its service; the metrics of a control worker twice as far. */
const UI_DISTANCE = 1_000;
/** As many dev servers on one machine; more is a mistake. */
const MAX_TRIES = 100;

export interface DevPorts {
  readonly service: number;
  readonly ui: number;
  readonly metrics: number;
}

/** The first from `wished` on of which all three could be bound a moment ago. */
export async function findPorts(wished: number): Promise<DevPorts> {
  for (let service = wished; service < wished + MAX_TRIES; service += 1) {
    const ports = { service, ui: service + UI_DISTANCE, metrics: service + 2 * UI_DISTANCE };
    if ((await canBind(ports.service)) && (await canBind(ports.ui)) && (await canBind(ports.metrics))) return ports;
  }
  throw new CommandError(
    'failed',
    `No port from ${String(wished)} to ${String(wished + MAX_TRIES - 1)} is free; name another by --port.`,
  );
}

/** The first port from `wished` on that could be bound a moment ago. */
export async function findPort(wished: number): Promise<number> {
  for (let port = wished; port < wished + MAX_TRIES; port += 1) if (await canBind(port)) return port;
  throw new CommandError('failed', `No port from ${String(wished)} to ${String(wished + MAX_TRIES - 1)} is free.`);
}

export async function canBind(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => {
      resolve(false);
    });
    server.listen({ port, host: LOOPBACK, exclusive: true }, () => {
      server.close(() => {
        resolve(true);
      });
    });
  });
}

/**
 * Chooses a TCP port for a rendezvous, outside the range from which the kernel takes ports for outgoing connections: one from
 * inside may be taken between the choice and the trainer's bind.
 */
import { randomInt } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';

export interface PortRange {
  /** First and last, both inclusive. */
  readonly from: number;
  readonly to: number;
}

/** Below Linux's default of 32768-60999 and below Kubernetes's node ports. */
const defaultRange: PortRange = { from: 20_000, to: 29_999 };
/** Each is one bind, under a millisecond; a range so full that these fail needs a person. */
const maxTries = 200;

/**
 * A port that could be bound a moment ago on all addresses of this host, never one of `exclude` (the earlier generations'). Throws
 * when there is none.
 */
export async function findFreePort({
  range = defaultRange,
  exclude = [],
}: { readonly range?: PortRange; readonly exclude?: readonly number[] } = {}): Promise<number> {
  const ephemeral = await ephemeralRange();
  const candidates: number[] = [];
  for (let port = range.from; port <= range.to; port += 1) {
    if (!exclude.includes(port) && (port < ephemeral.from || port > ephemeral.to)) candidates.push(port);
  }
  for (let tries = 0; tries < maxTries && candidates.length > 0; tries += 1) {
    // At random: two agents of one machine that choose at the same time shall not choose the same.
    const [port] = candidates.splice(randomInt(candidates.length), 1);
    if (port !== undefined && (await canBind(port))) return port;
  }
  throw new Error(
    `No TCP port from ${range.from} to ${range.to} is free (${exclude.length} excluded, the kernel's own range ` +
      `${ephemeral.from} to ${ephemeral.to} not used): free some, or name another range.`,
  );
}

async function canBind(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => {
      resolve(false);
    });
    // No host: all addresses, of both families where there are two.
    server.listen({ port, exclusive: true }, () => {
      server.close(() => {
        resolve(true);
      });
    });
  });
}

/** Of outgoing connections. */
export async function ephemeralRange(): Promise<PortRange> {
  const text = await readFile('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').catch(() => '');
  const [from = Number.NaN, to = Number.NaN] = text.trim().split(/\s+/).map(Number);
  return Number.isInteger(from) && Number.isInteger(to) ? { from, to } : { from: 32_768, to: 60_999 };
}

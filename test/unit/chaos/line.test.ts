/** The line that chaos slows, stalls and cuts changes nothing that it carries, or a test would accuse the engine of what the line has done. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { Line } from '../../support/line.js';
import { until } from '../../support/until.js';

const LIMIT_MS = 10_000;

test('what comes through a line that is slowed, stalled and mended while it flows comes whole and in order', async () => {
  const sent = Buffer.alloc(1024 * 1024, 0).map((_, index) => (index * 31) % 251);
  const server = createServer((socket) => socket.end(sent));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const line = await Line.open('127.0.0.1', (server.address() as AddressInfo).port);
  onTestFinished(async () => {
    await line.close();
    server.close();
  });
  line.slow();
  const [host, port] = line.address.split(':');
  const got: Buffer[] = [];
  const bytes = (): number => got.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const client = connect(Number(port), host);
  client.on('data', (chunk) => got.push(Buffer.from(chunk)));
  // Each time a chunk is on its way.
  for (const change of [() => line.slow(), () => line.stall(), () => line.slow(), () => line.mend()]) {
    const before = bytes();
    await until('something comes', LIMIT_MS, () => bytes() > before || undefined);
    change();
  }
  await once(client, 'close');
  expect(Buffer.concat(got).equals(sent)).toBe(true);
});

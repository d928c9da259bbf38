/** Free ports: outside the kernel's range, never an excluded one, never one in use. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { findFreePort } from '../../../src/process/free-port.js';

test('a port is chosen outside the range of outgoing connections, and can be bound', async () => {
  const port = await findFreePort();
  expect(port).toBeGreaterThanOrEqual(20_000);
  expect(port).toBeLessThan(30_000);
  const server = createServer().listen(port, '127.0.0.1');
  await once(server, 'listening');
  expect((server.address() as AddressInfo).port).toBe(port);
  server.close();
});

test('a port that is excluded, or that somebody listens on, on whatever address, is not chosen', async () => {
  const base = await findFreePort();
  const server = createServer().listen(base, '127.0.0.1');
  await once(server, 'listening');
  const range = { from: base, to: base };
  await expect(findFreePort({ range })).rejects.toThrow(`No TCP port from ${base} to ${base} is free`);
  server.close();
  await once(server, 'close');
  expect(await findFreePort({ range })).toBe(base);
  await expect(findFreePort({ range, exclude: [base] })).rejects.toThrow('1 excluded');
});

test('a range inside the kernel range gives nothing', async () => {
  await expect(findFreePort({ range: { from: 40_000, to: 40_010 } })).rejects.toThrow('not used');
});

/** The SDK's runtime of a process: where its metrics cannot be served, the sentence names the setting. */
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { installRuntime } from '../../../src/workers/runtime.js';

test('an address that is taken, or is none, is refused by the name of the setting', async () => {
  const server = createServer();
  onTestFinished(() => void server.close());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const taken = `127.0.0.1:${String((server.address() as AddressInfo).port)}`;
  for (const metricsAddress of [taken, '127.0.0.1:99999'])
    expect(() => {
      installRuntime({ metricsAddress });
    }).toThrow(`metricsAddress is ${metricsAddress}, and nothing can be served there`);
});

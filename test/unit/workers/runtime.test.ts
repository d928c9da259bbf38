/** The SDK's runtime of a process: where its metrics cannot be served, the sentence names the setting; a log that takes nothing is no end. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { installRuntime } from '../../../src/workers/runtime.js';
import { scratchFolder } from '../../support/scratch.js';
import { compileFolder } from '../process/support.js';

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

test('a process whose log is on a full disk lives on', async () => {
  const root = await scratchFolder();
  const compiled = await compileFolder('workers', root);
  const agent = `
    import { installRuntime } from '${compiled}/runtime.js';
    installRuntime({});
    process.stderr.write('a word');
    process.stdout.write('another');
    setTimeout(() => process.exit(7), 100);`;
  await writeFile(join(root, 'agent.js'), agent);
  const full = await open('/dev/full', 'w');
  onTestFinished(() => full.close());
  const child = spawn(process.execPath, [join(root, 'agent.js')], { stdio: ['ignore', full.fd, full.fd] });
  expect(await once(child, 'exit')).toEqual([7, null]);
});

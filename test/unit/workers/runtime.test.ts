/** The SDK's runtime of a process: where its metrics cannot be served, the sentence names the setting; a log that takes nothing is no end. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import ts from 'typescript';
import { expect, onTestFinished, test } from 'vitest';
import { installRuntime } from '../../../src/workers/runtime.js';
import { scratchFolder } from '../../support/scratch.js';

const REPOSITORY = join(import.meta.dirname, '../../..');

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
  await writeFile(join(root, 'package.json'), '{"type":"module"}');
  await symlink(join(REPOSITORY, 'node_modules'), join(root, 'node_modules'));
  const source = await readFile(join(REPOSITORY, 'src/workers/runtime.ts'), 'utf8');
  const compilerOptions = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 };
  await writeFile(join(root, 'runtime.js'), ts.transpileModule(source, { compilerOptions }).outputText);
  const agent = `
    import { installRuntime } from './runtime.js';
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

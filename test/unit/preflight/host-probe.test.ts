/** What is read of any host: the kernel's tables by samples, and this machine as it is. */
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { readBaseline, writeBaseline } from '../../../src/preflight/baseline.js';
import {
  listeningPorts,
  lookWithPython,
  portRanges,
  portReadings,
  reachStore,
  spaceAt,
} from '../../../src/preflight/host-probe.js';
import { probeHost } from '../../../src/preflight/probe-host.js';
import { ascendHost } from '../../fixtures/ascend/tools.js';
import { scratchFolder } from '../../support/scratch.js';

test('ports that are reserved, as the kernel lists them', () => {
  expect(portRanges('8080,60000-60031\n')).toEqual([
    { from: 8080, to: 8080 },
    { from: 60_000, to: 60_031 },
  ]);
  expect(portRanges('\n')).toEqual([]);
});

test('ports on which somebody listens, of both families, and no connections', () => {
  const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:EA60 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:EA61 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 20 4 30 10 -1
   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 3 1 0 100 0 0 10 0
`;
  expect(listeningPorts(table)).toEqual([22, 60_000]);
});

test('a real listener is seen, and a port for a rendezvous is found beside it', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const { listening, rendezvous } = await portReadings();
  expect('value' in listening && listening.value).toContain(port);
  expect(rendezvous).toEqual({ value: expect.any(Number) as number });
});

test('the space of a folder that does not exist yet is that of where it would be made', async () => {
  const folder = await scratchFolder();
  const found = await spaceAt(join(folder, 'work', 'root'));
  expect(found).toMatchObject({ value: { path: folder } });
  if ('value' in found) expect(found.value.freeBytes).toBeGreaterThan(0);
  await writeFile(join(folder, 'file'), '');
  expect(await spaceAt(join(folder, 'file', 'below'))).toEqual({ unread: `${join(folder, 'file', 'below')}: ENOTDIR` });
});

test('a Python tells its version, what is installed, and what the kernel says of the clock', async () => {
  const { python, clock } = await lookWithPython('python3', ['pip', 'no-such-package']);
  expect(python).toMatchObject({
    value: { version: expect.stringMatching(/^3\.\d+/) as string, packages: { 'no-such-package': null } },
  });
  expect(clock).toMatchObject({
    value: { isSynchronised: expect.any(Boolean) as boolean, maxErrorMs: expect.any(Number) as number },
  });
});

test('a Python that is not there, or does not run', async () => {
  const missing = join(await scratchFolder(), 'python');
  expect((await lookWithPython(missing, [])).python).toEqual({ unread: `${missing}: it is not there` });
  await writeFile(missing, '#!/bin/sh\necho "cannot open shared object" >&2\nexit 127\n', { mode: 0o755 });
  expect((await lookWithPython(missing, [])).clock).toEqual({ unread: `${missing}: cannot open shared object` });
});

test('a store in a folder: there, away, no folder; looking makes nothing', async () => {
  const folder = await scratchFolder();
  expect(await reachStore({ folder })).toEqual({ value: folder });
  const away = join(folder, 'not-mounted');
  expect(await reachStore({ folder: away })).toEqual({ unread: expect.stringContaining('ENOENT') as string });
  await expect(mkdir(away)).resolves.toBeUndefined();
  await writeFile(join(folder, 'file'), '');
  expect(await reachStore({ folder: join(folder, 'file') })).toEqual({
    unread: `${join(folder, 'file')}: it is no folder`,
  });
});

test('a store on S3 whose server is away', async () => {
  const settings = {
    endpoint: 'http://127.0.0.1:9',
    bucket: 'models',
    prefix: '',
    pathStyle: true,
    fencing: 'strict',
  } as const;
  expect(await reachStore({ s3: settings })).toEqual({ unread: expect.any(String) as string });
});

test('the baseline comes back as it was written; another file is not taken for one', async () => {
  const workRoot = join(await scratchFolder(), 'work');
  expect(await readBaseline(workRoot)).toBeUndefined();
  const baseline = { driver: '25.3.rc1', at: '2026-11-25T00:00:00Z', usedMb: { '0000:C1:00.0': 3318 } };
  await writeBaseline(workRoot, baseline);
  expect(await readBaseline(workRoot)).toEqual({ value: baseline });
  await writeFile(join(workRoot, 'npu-idle.json'), '{"usedMb":');
  expect(await readBaseline(workRoot)).toEqual({ unread: expect.stringContaining('none of ours') as string });
});

test('a host as a whole: NPUs with their baseline, the clock though the runtime is missing, what was not named left out', async () => {
  const folder = await scratchFolder();
  const baseline = { driver: '25.3.rc1', at: '2026-11-25T00:00:00Z', usedMb: {} };
  await writeBaseline(folder, baseline);
  const ascend = await ascendHost(folder);
  const found = await probeHost({
    runtime: 'ascend',
    npus: 2,
    workRoot: folder,
    runtimeBin: join(folder, 'bin'),
    ascend,
  });
  expect(found).toMatchObject({
    ...{ runtime: 'ascend', npus: 2, ascend: { baseline: { value: baseline } } },
    ...{ missingPrograms: ['python', 'torchrun', 'mm-convert'], python: { unread: expect.any(String) as string } },
    clock: { value: {} },
  });
  expect(found.ascend?.chips).toHaveLength(2);
  const bare = await probeHost({ runtime: 'cpu', workRoot: folder });
  expect(Object.keys(bare).filter((key) => ['ascend', 'python', 'store'].includes(key))).toEqual([]);
});

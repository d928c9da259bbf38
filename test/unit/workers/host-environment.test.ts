/** Which environment a host gives to its programs, by its settings. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { hostEnvironment } from '../../../src/workers/host-environment.js';
import { ascendRuntime } from '../../fixtures/ascend/runtime.js';
import { scratchFolder } from '../../support/scratch.js';

const own = { PATH: process.env['PATH'], HOME: '/home/agent', SECRET_OF_THE_AGENT: 'x' };

test('a host without NPUs gives what may be inherited, and nothing else of its agent', async () => {
  expect(await hostEnvironment({ address: '127.0.0.1', runtimeBin: '/bin' }, own)).toEqual({
    PATH: own.PATH,
    HOME: '/home/agent',
  });
});

test("a host with NPUs adds CANN's variables of all its scripts and the interface that has its address", async () => {
  const root = await scratchFolder();
  const { bin, setEnv } = await ascendRuntime(root);
  const given = await hostEnvironment({ address: '127.0.0.1', runtimeBin: bin, ascend: { setEnv: [...setEnv] } }, own);
  const toolkit = join(root, 'Ascend/ascend-toolkit/latest');
  expect(given).toMatchObject({
    ...{ HOME: '/home/agent', ASCEND_HOME_PATH: toolkit, LD_LIBRARY_PATH: join(toolkit, 'lib64') },
    ATB_HOME_PATH: join(root, 'Ascend/nnal/atb/latest/atb'),
    ...{ HCCL_SOCKET_IFNAME: '=lo', GLOO_SOCKET_IFNAME: 'lo', TP_SOCKET_IFNAME: 'lo' },
  });
  expect(given['PATH']?.split(':').slice(0, 2)).toEqual([join(toolkit, 'bin'), bin]);
  expect(given).not.toHaveProperty('SECRET_OF_THE_AGENT');
});

test('an interface that is named is taken, and an address that no interface has must come with one', async () => {
  const { bin, setEnv } = await ascendRuntime(await scratchFolder());
  const settings = { address: 'node-01.example', runtimeBin: bin, ascend: { setEnv: [...setEnv] } };
  await expect(hostEnvironment(settings, own)).rejects.toThrow('set "ascend.interface" to its name');
  const named = { ...settings, ascend: { ...settings.ascend, interface: 'enp61s0f0' } };
  expect(await hostEnvironment(named, own)).toMatchObject({
    HCCL_SOCKET_IFNAME: '=enp61s0f0',
    GLOO_SOCKET_IFNAME: 'enp61s0f0',
  });
});

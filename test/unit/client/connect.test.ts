/** Which server a command means, by options, environment and state files. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { resolvePlace } from '../../../src/client/connect.js';
import { findDevState } from '../../../src/client/dev-state.js';
import type { DevState } from '../../../src/client/dev-state.js';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'anneal-connect-'));
});
afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

/** No process has this id on Linux: it is above the largest that can be configured. */
const NOBODY = 4_194_305;

function writeState(folder: string, change: Partial<DevState> = {}): void {
  mkdirSync(folder, { recursive: true });
  const state: DevState = {
    pid: process.pid,
    startTicks: '1',
    address: '127.0.0.1:7233',
    uiUrl: 'http://127.0.0.1:8233',
    namespace: 'default',
    store: join(folder, 'store'),
    cluster: 'dev',
    children: [],
    ...change,
  };
  writeFileSync(join(folder, 'dev.json'), JSON.stringify(state));
}

describe('resolvePlace', () => {
  test('takes what is said before anything else', async () => {
    writeState(join(root, '.anneal'));
    const place = await resolvePlace({ address: 'a:1', env: { TEMPORAL_ADDRESS: 'b:2' }, cwd: root });
    expect(place).toMatchObject({ address: 'a:1', source: 'option', cluster: 'default', namespace: 'default' });
  });

  test('takes the environment before a state file', async () => {
    writeState(join(root, '.anneal'));
    const place = await resolvePlace({
      env: { TEMPORAL_ADDRESS: 'b:2', TEMPORAL_NAMESPACE: 'n', ANNEAL_CLUSTER: 'c' },
      cwd: root,
    });
    expect(place).toMatchObject({ address: 'b:2', source: 'environment', cluster: 'c', namespace: 'n' });
  });

  test('finds the state file of a folder above', async () => {
    writeState(join(root, '.anneal'), { address: 'c:3' });
    mkdirSync(join(root, 'deep/er'), { recursive: true });
    const place = await resolvePlace({ cwd: join(root, 'deep/er') });
    expect(place).toMatchObject({ address: 'c:3', source: 'dev', cluster: 'dev', store: join(root, '.anneal/store') });
  });

  test('a named state folder beats the environment', async () => {
    writeState(join(root, 'other'), { address: 'd:4' });
    const place = await resolvePlace({ stateDir: join(root, 'other'), env: { TEMPORAL_ADDRESS: 'b:2' } });
    expect(place.address).toBe('d:4');
  });

  test('reads no variable that it was not given', async () => {
    await expect(resolvePlace({ cwd: root })).rejects.toThrow(/anneal dev.*--address.*TEMPORAL_ADDRESS/s);
  });
});

describe('findDevState', () => {
  test('prefers a living demo to a dev that has ended', () => {
    writeState(join(root, '.anneal'), { pid: NOBODY, address: 'dead:1' });
    writeState(join(root, '.anneal/demo'), { address: 'alive:2' });
    expect(findDevState(root)?.address).toBe('alive:2');
  });

  test('still knows the store of a dev that has ended', () => {
    writeState(join(root, '.anneal'), { pid: NOBODY });
    expect(findDevState(root)?.store).toBe(join(root, '.anneal/store'));
  });

  test.each([
    ['not JSON', '{'],
    ['another shape', '{"pid": "x"}'],
  ])('passes over a file that is %s', (_, text) => {
    mkdirSync(join(root, '.anneal'));
    writeFileSync(join(root, '.anneal/dev.json'), text);
    expect(findDevState(root)).toBeUndefined();
  });
});

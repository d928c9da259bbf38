/** Which store an `anneal dev` works on, and that it keeps to it. */
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { devStore, refuseOtherStore, refuseToEmpty } from '../../../src/cli/dev/dev-store.js';
import type { DevState } from '../../../src/client/dev-state.js';
import { formatStoreAddress } from '../../../src/storage/store-settings.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'anneal-dev-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const place = (lookIn: Record<string, string>) => ({ folder, env: {}, lookIn });

test('without a wish it is a folder of its own; an address is taken as it is', async () => {
  expect(await devStore(undefined, place({}))).toEqual({ settings: { folder: join(folder, 'store') } });
  // Hosts look at it before anybody has stored anything.
  expect(statSync(join(folder, 'store')).isDirectory()).toBe(true);
  expect(await devStore('/mnt/store', place({}))).toEqual({ settings: { folder: '/mnt/store' } });
  const { settings, server } = await devStore('s3://models/a', place({}));
  expect(settings.s3).toMatchObject({ bucket: 'models', prefix: 'a' });
  expect(server).toBeUndefined();
  const relative = await devStore('s3://models?credentialsFile=keys', place({}));
  expect(relative.settings.s3?.credentialsFile).toBe(join(process.cwd(), 'keys'));
});

test('its own S3 server has a secret of its own, which is kept in one file for its owner alone', async () => {
  const cache = join(folder, 'cache');
  // Any program will do: nothing is started here.
  const { mkdir, symlink } = await import('node:fs/promises');
  await mkdir(join(cache, 'tools/versitygw-v1.8.0'), { recursive: true });
  await symlink(process.execPath, join(cache, 'tools/versitygw-v1.8.0/versitygw'));
  const first = await devStore('s3', place({ ANNEAL_CACHE: cache }));
  const file = join(folder, 's3/credentials');
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const secret = first.server?.env['ROOT_SECRET_KEY'] ?? '';
  expect(readFileSync(file, 'utf8')).toContain(secret);
  expect(formatStoreAddress(first.settings)).not.toContain(secret);
  expect(first.server?.args.join(' ')).not.toContain(secret);
  const second = await devStore('s3', place({ ANNEAL_CACHE: cache }));
  expect(second.server?.env['ROOT_SECRET_KEY']).toBe(secret);
});

test('without the program of an S3 server it says how to get one, or to give an address', async () => {
  await expect(devStore('s3', place({ ANNEAL_CACHE: folder, PATH: '' }))).rejects.toMatchObject({
    message: expect.stringMatching(/npm run setup:s3.*--store "s3:/) as string,
  });
});

test('a state folder keeps to its store: another port of its own server is the same, another store is refused', () => {
  const s3 = { bucket: 'anneal', prefix: '', pathStyle: true, fencing: 'strict' } as const;
  const at = (endpoint: string) => ({ s3: { ...s3, endpoint } });
  const before = { store: formatStoreAddress(at('http://127.0.0.1:7070')) } as DevState;
  refuseOtherStore(undefined, { folder: '/a' });
  refuseOtherStore(before, at('http://127.0.0.1:7071'));
  const refused = expect.objectContaining({ exit: 'refused' }) as Error;
  expect(() => refuseOtherStore(before, at('http://10.0.0.1:7070'))).toThrow(refused);
  expect(() => refuseOtherStore(before, { folder: '/a' })).toThrow(refused);
});

test('--fresh never empties a store that was given', () => {
  refuseToEmpty(undefined);
  refuseToEmpty('s3');
  expect(() => refuseToEmpty('s3://models/a')).toThrow(/Give another prefix/);
});

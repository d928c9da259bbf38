/** The folder store against the suite of all stores, and what only a folder can get wrong: links, modes, left-over files, a lost disk. */
import { constants } from 'node:fs';
import { lstat, mkdir, open, readdir, rename, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { FolderStore } from '../../src/storage/folder-store.js';
import { randomFile, scratchFolder } from '../support/scratch.js';
import { objectStoreSuite } from './object-store.suite.js';

objectStoreSuite('folder store', async () => {
  const folder = join(await scratchFolder(), 'store');
  return { store: new FolderStore(folder), address: { folder }, bufferBytes: 16 * 1024 * 1024 };
});

test('no key and no listing leads through a link, out of the store or within it', async () => {
  const folder = await scratchFolder();
  const store = new FolderStore(join(folder, 'store'));
  await store.create('inside/object', 'x');
  await mkdir(join(folder, 'outside'));
  await writeFile(join(folder, 'outside/secret'), 'secret');
  await symlink(join(folder, 'outside'), join(folder, 'store/link'));
  await symlink(join(folder, 'outside/secret'), join(folder, 'store/file'));
  await symlink('inside', join(folder, 'store/alias'));
  for (const key of ['link/secret', 'file', 'alias/object']) {
    const refusal = { code: 'KeyInvalid', message: expect.stringContaining('not followed') as string };
    await expect(store.read(key)).rejects.toMatchObject(refusal);
    await expect(store.openRead(key)).rejects.toMatchObject(refusal);
    await expect(store.create(key, 'y')).rejects.toMatchObject(refusal);
    await expect(store.delete(key)).rejects.toMatchObject(refusal);
  }
  await expect(store.create('link/new/er', 'y')).rejects.toMatchObject({ code: 'KeyInvalid' });
  expect(await readdir(join(folder, 'outside'))).toEqual(['secret']);
  const keys: string[] = [];
  for await (const { key } of store.list('')) keys.push(key);
  expect(keys).toEqual(['inside/object']);
  await expect(store.list('link/').next()).rejects.toMatchObject({ code: 'KeyInvalid' });
});

test('files are 0644 and folders 0755, whatever the umask', async () => {
  const folder = await scratchFolder();
  const before = process.umask(0o077);
  try {
    const store = new FolderStore(join(folder, 'a/store'));
    await store.create('x/y/object', 'x');
    const file = await randomFile(join(folder, 'file'), 10);
    await store.putFile('x/file', file.path, file);
    const modeOf = async (path: string): Promise<number> => (await lstat(join(folder, path))).mode & 0o777;
    for (const path of ['a', 'a/store', 'a/store/x', 'a/store/x/y']) expect(await modeOf(path), path).toBe(0o755);
    for (const path of ['a/store/x/y/object', 'a/store/x/file']) expect(await modeOf(path), path).toBe(0o644);
  } finally {
    process.umask(before);
  }
});

test('temporary files of killed writers are swept by age when a store is opened; young ones may be in use and stay', async () => {
  const folder = await scratchFolder();
  await new FolderStore(folder).create('k', 'x');
  expect(await readdir(join(folder, '.tmp'))).toEqual([]);
  for (const name of ['old', 'young']) await writeFile(join(folder, '.tmp', name), 'x');
  const twoDaysAgo = Date.now() / 1000 - 2 * 24 * 3600;
  await utimes(join(folder, '.tmp/old'), twoDaysAgo, twoDaysAgo);
  await new FolderStore(folder).head('k');
  expect(await readdir(join(folder, '.tmp'))).toEqual(['young']);
});

test('a store whose disk has gone says so, and does not look empty', async () => {
  const folder = await scratchFolder();
  const store = new FolderStore(join(folder, 'store'));
  await store.create('log/000001.json', 'x');
  await rename(join(folder, 'store'), join(folder, 'away'));
  const gone = { code: 'Unavailable', message: expect.stringContaining('gone away') as string };
  await expect(store.read('log/000001.json')).rejects.toMatchObject(gone);
  await expect(store.list('log/').next()).rejects.toMatchObject(gone);
  await expect(store.create('log/000001.json', 'y')).rejects.toMatchObject(gone);
  await rename(join(folder, 'away'), join(folder, 'store'));
  expect((await store.read('log/000001.json'))?.toString()).toBe('x');
});

test('an object cannot have the name of a folder of objects, nor lie below an object', async () => {
  const store = new FolderStore(await scratchFolder());
  await store.create('a/b', 'x');
  await expect(store.create('a', 'x')).rejects.toMatchObject({ code: 'KeyInvalid' });
  await expect(store.create('a/b/c', 'x')).rejects.toMatchObject({ code: 'KeyInvalid' });
});

test('a byte flipped on the disk is found by the next reader', async () => {
  const folder = await scratchFolder();
  const store = new FolderStore(join(folder, 'store'));
  const file = await randomFile(join(folder, 'file'), 1_000_000);
  await store.putFile('k', file.path, file);
  const handle = await open(join(folder, 'store/k'), constants.O_RDWR);
  const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, 777_777);
  await handle.write(Buffer.from([buffer[0]! ^ 0x10]), 0, 1, 777_777);
  await handle.close();
  await expect(store.getFile('k', join(folder, 'out'), file)).rejects.toMatchObject({ code: 'DigestMismatch' });
  await expect(store.putFile('k', file.path, file)).rejects.toMatchObject({ code: 'Conflict' });
});

import { mkdir, readFile, readdir, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  artifactRefOf,
  fileSetOf,
  publishArtifact,
  publishFileSet,
  readManifest,
  scanFolder,
  verifyFileSet,
} from '../../../src/storage/file-set.js';
import type { FileSetRef } from '../../../src/storage/file-set.js';
import { FolderStore } from '../../../src/storage/folder-store.js';
import { canonicalJson, sha256Hex } from '../../../src/storage/hashing.js';
import { scratchFolder, writeTree } from '../../support/scratch.js';

const tree = { 'config.json': '{}', 'weights/a b.bin': 'weights', 'weights/空.bin': '', 'z.txt': 'last' };

async function published(): Promise<{ folder: string; storeFolder: string; store: FolderStore; ref: FileSetRef }> {
  const scratch = await scratchFolder();
  const folder = join(scratch, 'model');
  const storeFolder = join(scratch, 'store');
  await writeTree(folder, tree);
  const store = new FolderStore(storeFolder);
  return { folder, storeFolder, store, ref: await publishArtifact(store, folder) };
}

describe('a manifest', () => {
  test('names every file with size and digest, sorted, and its digest is that of its canonical text', async () => {
    const { store, ref, folder } = await published();
    const manifest = await readManifest(store, ref);
    expect(manifest).toEqual({
      format: 1,
      files: Object.entries(tree).map(([path, body]) => ({
        path,
        sizeBytes: Buffer.byteLength(body),
        sha256: sha256Hex(body),
      })),
      totalBytes: 13,
    });
    expect(await scanFolder(folder)).toEqual(manifest);
    expect(ref).toEqual({
      prefix: `artifacts/${ref.digest}/`,
      manifestKey: `artifacts/${ref.digest}.json`,
      digest: sha256Hex(canonicalJson(manifest)),
    });
    expect(artifactRefOf(manifest)).toEqual(ref);
  });

  test('is believed only by its digest', async () => {
    const { store, ref } = await published();
    await store.delete(ref.manifestKey);
    await expect(readManifest(store, ref)).rejects.toMatchObject({ code: 'NotFound' });
    await store.create(ref.manifestKey, '{"format":1,"files":[],"totalBytes":0}');
    await expect(readManifest(store, ref)).rejects.toMatchObject({ code: 'DigestMismatch' });
  });

  const file = { path: 'a', sizeBytes: 1, sha256: 'a'.repeat(64) };
  test.each([
    ['no JSON', 'x'],
    ['another format', canonicalJson({ format: 2, files: [], totalBytes: 0 })],
    ['an unknown field', canonicalJson({ format: 1, files: [], totalBytes: 0, more: 1 })],
    ['a wrong sum', canonicalJson({ format: 1, files: [file], totalBytes: 2 })],
    ['files out of order', canonicalJson({ format: 1, files: [{ ...file, path: 'b' }, file], totalBytes: 2 })],
    ['a path twice', canonicalJson({ format: 1, files: [file, file], totalBytes: 2 })],
    ['a path that leaves the set', canonicalJson({ format: 1, files: [{ ...file, path: '../a' }], totalBytes: 1 })],
    [
      "a file that is another one's folder",
      canonicalJson({ format: 1, files: [file, { ...file, path: 'a/b' }], totalBytes: 2 }),
    ],
    ['a digest of another kind', canonicalJson({ format: 1, files: [{ ...file, sha256: 'md5' }], totalBytes: 1 })],
  ])('with %s is refused even if its digest is right', async (_, body) => {
    const store = new FolderStore(await scratchFolder());
    await store.create('m.json', body);
    const ref = { prefix: 'x/', manifestKey: 'm.json', digest: sha256Hex(body) };
    await expect(readManifest(store, ref)).rejects.toMatchObject({
      code: 'DigestMismatch',
      message: expect.stringContaining('m.json') as string,
    });
  });

  test('cannot be made of links, of nothing, or of paths that do not fit beside each other', async () => {
    const folder = await scratchFolder();
    const store = new FolderStore(join(folder, 'store'));
    await mkdir(join(folder, 'empty/sub'), { recursive: true });
    await expect(publishArtifact(store, join(folder, 'empty'))).rejects.toMatchObject({ code: 'NotFound' });
    await symlink('/etc/hostname', join(folder, 'empty/link'));
    await expect(scanFolder(join(folder, 'empty'))).rejects.toThrow(/"link" .* is a symbolic link.*cp -rL/s);
    expect(() => fileSetOf([file, { ...file, path: 'a/b' }])).toThrow('also the folder of');
  });
});

describe('publishing', () => {
  test('puts the manifest last: an abort in the middle leaves files, and no artifact', async () => {
    const { folder } = await published();
    const store = new FolderStore(join(await scratchFolder(), 'store'));
    const controller = new AbortController();
    const reason = new Error('stop');
    const onProgress = ({ filesDone }: { readonly filesDone: number }): void => {
      if (filesDone === 2) controller.abort(reason);
    };
    await expect(publishArtifact(store, folder, { signal: controller.signal, onProgress })).rejects.toBe(reason);
    const ref = artifactRefOf(await scanFolder(folder));
    expect(await store.head(ref.manifestKey)).toBeUndefined();
    expect(await publishArtifact(store, folder)).toEqual(ref);
    expect(await verifyFileSet(store, ref)).toEqual([]);
  });

  test('tells progress in bytes and files, up to the whole', async () => {
    const { folder } = await published();
    const seen: unknown[] = [];
    await publishArtifact(new FolderStore(join(folder, '../other')), folder, {
      onProgress: (progress) => seen.push(progress),
    });
    expect(seen.at(-1)).toEqual({ bytesDone: 13, bytesTotal: 13, filesDone: 4, filesTotal: 4 });
  });

  test('again writes nothing that is there', async () => {
    const { folder, store, storeFolder, ref } = await published();
    const longAgo = 1_000_000_000;
    const path = join(storeFolder, ref.prefix, 'z.txt');
    await utimes(path, longAgo, longAgo);
    expect(await publishArtifact(store, folder)).toEqual(ref);
    const { mtimeMs } = await import('node:fs/promises').then(({ stat }) => stat(path));
    expect(mtimeMs).toBe(longAgo * 1000);
  });

  test('mends an artifact whose files or manifest are damaged', async () => {
    const { folder, store, storeFolder, ref } = await published();
    await writeFile(join(storeFolder, ref.prefix, 'z.txt'), 'lost');
    await rm(join(storeFolder, ref.prefix, 'config.json'));
    await writeFile(join(storeFolder, ref.manifestKey), '{}');
    expect(await publishArtifact(store, folder)).toEqual(ref);
    expect(await verifyFileSet(store, ref)).toEqual([]);
  });

  test('under a prefix of its own is strictly create-once: other bytes are a Conflict and stay as they are', async () => {
    const { folder, store } = await published();
    const place = { prefix: 'runs/a/checkpoints/g1', manifestKey: 'runs/a/checkpoints/g1.json' };
    const ref = await publishFileSet(store, folder, await scanFolder(folder), place);
    expect(ref).toEqual({ ...place, prefix: 'runs/a/checkpoints/g1/', digest: ref.digest });
    expect(await publishFileSet(store, folder, await scanFolder(folder), place)).toEqual(ref);
    await writeFile(join(folder, 'z.txt'), 'else');
    await expect(publishFileSet(store, folder, await scanFolder(folder), place)).rejects.toMatchObject({
      code: 'Conflict',
    });
    await rm(join(folder, 'z.txt'));
    await expect(publishFileSet(store, folder, await scanFolder(folder), place)).rejects.toMatchObject({
      code: 'Conflict',
    });
    expect(await verifyFileSet(store, ref)).toEqual([]);
  });
});

describe('verifying', () => {
  test('names each missing, truncated, lengthened and flipped file, and no other', async () => {
    const { store, storeFolder, ref } = await published();
    expect(await verifyFileSet(store, ref)).toEqual([]);
    const at = (path: string): string => join(storeFolder, ref.prefix, path);
    await rm(at('config.json'));
    await writeFile(at('weights/a b.bin'), 'weight');
    await writeFile(at('weights/空.bin'), '!');
    const bytes = await readFile(at('z.txt'));
    bytes[1]! ^= 4;
    await writeFile(at('z.txt'), bytes);
    const problems = await verifyFileSet(store, ref);
    expect(problems.map(({ path, problem }) => [path, problem])).toEqual([
      ['config.json', 'missing'],
      ['weights/a b.bin', 'truncated'],
      ['weights/空.bin', 'too-long'],
      ['z.txt', 'flipped'],
    ]);
    for (const { message } of problems) expect(message).toMatch(/^".*" in file:.*\.$/);
  });

  test('a store holds no more than was published', async () => {
    const { storeFolder, ref } = await published();
    expect((await readdir(join(storeFolder, 'artifacts'))).toSorted()).toEqual([ref.digest, `${ref.digest}.json`]);
    expect(await readdir(join(storeFolder, '.tmp'))).toEqual([]);
  });
});

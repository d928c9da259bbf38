import { appendFile, readFile, readdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { describe, expect, test } from 'vitest';
import { loadSmallFile, startHash, storeSmallFile } from '../../../src/storage/hash-pool.js';
import type { SmallFile } from '../../../src/storage/hash-pool.js';
import { canonicalJson, digestOf, sha256File, sha256Hex } from '../../../src/storage/hashing.js';
import { randomFile, scratchFolder } from '../../support/scratch.js';

describe('canonical JSON', () => {
  test.each([
    [{ b: 1, a: [true, null, 'x'] }, '{"a":[true,null,"x"],"b":1}'],
    [{ a: undefined, b: { d: 1, c: 2 } }, '{"b":{"c":2,"d":1}}'],
    ['é"\n', '"é\\"\\n"'],
    [[1.5, -0, 1e21], '[1.5,0,1e+21]'],
    [{}, '{}'],
  ])('%j has one text', (value, text) => {
    expect(canonicalJson(value)).toBe(text);
    expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
  });

  test('the order in which fields were set does not change the digest, a value does', () => {
    expect(digestOf({ a: 1, b: 2 })).toBe(digestOf({ b: 2, a: 1 }));
    expect(digestOf({ a: 1, b: 2 })).not.toBe(digestOf({ a: 1, b: 3 }));
    expect(digestOf('')).toBe(sha256Hex('""'));
  });

  test.each([
    ['NaN', { a: NaN }, '$.a is NaN'],
    ['a Date', [new Date(0)], '$[0] is Date'],
    ['a Map', { a: { b: new Map() } }, '$.a.b is Map'],
    ['undefined in a list', [undefined], '$[0] is undefined'],
    ['a bigint', 1n, '$ is bigint'],
  ])('%s is refused with its place, because JSON would change it in silence', (_, value, message) => {
    expect(() => canonicalJson(value)).toThrow(message);
  });

  test('a circle is refused', () => {
    const circle: Record<string, unknown> = {};
    circle['self'] = circle;
    expect(() => canonicalJson(circle)).toThrow('nested deeper');
  });
});

describe('hashing files', () => {
  test.each([0, 1, 262_144, 262_145, 5_000_000])(
    'a file of %i bytes has the digest that node:crypto gives it',
    async (sizeBytes) => {
      const file = await randomFile(join(await scratchFolder(), 'file'), sizeBytes);
      expect(await sha256File(file.path)).toEqual({ sha256: file.sha256, sizeBytes });
    },
  );

  test('many files at once each get their own digest', async () => {
    const folder = await scratchFolder();
    const sizes = Array.from({ length: 40 }, (_, index) => 300_000 + index * 10_000);
    const files = await Promise.all(sizes.map((size) => randomFile(join(folder, `${size}`), size)));
    const digests = await Promise.all(files.map((file) => sha256File(file.path)));
    expect(digests.map((digest) => digest.sha256)).toEqual(files.map((file) => file.sha256));
  });

  test('a file that is not there is NotFound, and an abort rejects with its reason', async () => {
    const folder = await scratchFolder();
    await expect(sha256File(join(folder, 'nothing'))).rejects.toMatchObject({ code: 'NotFound' });
    const file = await randomFile(join(folder, 'file'), 64 * 1024 * 1024);
    const controller = new AbortController();
    const reason = new Error('stop');
    const onProgress = (): void => {
      controller.abort(reason);
    };
    await expect(sha256File(file.path, { signal: controller.signal, onProgress })).rejects.toBe(reason);
    expect(await sha256File(file.path)).toEqual({ sha256: file.sha256, sizeBytes: file.sizeBytes });
  });

  // Goal: a heartbeat is never late because of a hash. Method: the event loop's own clock while 192 MiB are hashed.
  test('the event loop stays free while large files are hashed', async () => {
    const folder = await scratchFolder();
    const files = await Promise.all([1, 2, 3].map((number) => randomFile(join(folder, `${number}`), 64 * 1024 * 1024)));
    const delay = monitorEventLoopDelay({ resolution: 5 });
    delay.enable();
    await Promise.all(files.map((file) => sha256File(file.path)));
    delay.disable();
    // Hashing here would take 100 ms and more in one piece; the rest is room for a busy machine.
    expect(delay.percentile(90) / 1e6).toBeLessThan(50);
  });

  test('a file is hashed while it grows, and a slow one does not hold up another', async () => {
    const folder = await scratchFolder();
    const path = join(folder, 'growing');
    await writeFile(path, 'hello ');
    const slow = Array.from({ length: 20 }, () => startHash(path));
    for (const hash of slow) hash.advance(6);
    const other = await randomFile(join(folder, 'other'), 1_000_000);
    expect((await sha256File(other.path)).sha256).toBe(other.sha256);
    await appendFile(path, 'world');
    const digests = await Promise.all(slow.map((hash) => hash.finish(11)));
    expect(new Set(digests.map((digest) => digest.sha256))).toEqual(new Set([sha256Hex('hello world')]));
  });

  test('a growing file that is shorter than it was said to be answers its real size', async () => {
    const path = join(await scratchFolder(), 'short');
    await writeFile(path, 'abc');
    expect(await startHash(path).finish(100)).toEqual({ sha256: sha256Hex('abc'), sizeBytes: 3 });
  });
  test('what a file has already is hashed from there, and what follows from memory, in this order', async () => {
    const start = await randomFile(join(await scratchFolder(), 'start'), 20_000_000);
    const hash = startHash(start.path);
    hash.advance(20_000_000);
    const texts = ['of', 'the', 'rest'];
    const updates = texts.map((text) => {
      const bytes = new SharedArrayBuffer(8);
      new Uint8Array(bytes).set(Buffer.from(text));
      return hash.update(bytes, text.length);
    });
    await Promise.all(updates);
    const whole = Buffer.concat([await readFile(start.path), Buffer.from(texts.join(''))]);
    expect(await hash.finish(whole.byteLength)).toEqual({ sha256: sha256Hex(whole), sizeBytes: whole.byteLength });
  });
});

describe('small files', () => {
  const path = async (): Promise<string> => join(await scratchFolder(), 'file');
  const fileOf = (at: string, text: string, sha256 = sha256Hex(text)): SmallFile => ({
    bytes: new Uint8Array(Buffer.from(text)),
    sha256,
    part: `${at}.part`,
    path: at,
    mode: 0o644,
  });

  test('one is stored over what was there, and read into memory that may be larger', async () => {
    const at = await path();
    await writeFile(at, 'before');
    await writeFile(`${at}.part`, 'of another attempt');
    const digest = { sha256: sha256Hex('now'), sizeBytes: 3 };
    expect(await storeSmallFile(fileOf(at, 'now'))).toEqual(digest);
    expect(await readdir(dirname(at))).toEqual(['file']);
    const memory = new SharedArrayBuffer(10);
    expect(await loadSmallFile(at, memory)).toEqual(digest);
    expect(Buffer.from(memory).toString()).toBe('now\0\0\0\0\0\0\0');
    expect(await loadSmallFile(at, new SharedArrayBuffer(2))).toMatchObject({ sizeBytes: 3 });
  });

  test('bytes that are not the promised ones are not stored, and the file that is there stays', async () => {
    const at = await path();
    await writeFile(at, 'before');
    const digest = await storeSmallFile(fileOf(at, 'now', sha256Hex('other')));
    expect(digest).toEqual({ sha256: sha256Hex('now'), sizeBytes: 3 });
    expect(await readFile(at, 'utf8')).toBe('before');
  });

  test('what fails says what it was', async () => {
    const at = join(await path(), 'in-no-folder');
    await expect(storeSmallFile(fileOf(at, 'now'))).rejects.toMatchObject({ code: 'ENOENT', syscall: 'open' });
    await expect(loadSmallFile(at, new SharedArrayBuffer(2))).rejects.toMatchObject({ code: 'NotFound' });
  });
});

/** What every object store must do. One suite, called once per kind of store: a store that passes it may carry the fences of a run. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { lstat, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { sha256Hex } from '../../src/storage/hashing.js';
import type { ObjectStore, Progress } from '../../src/storage/object-store.js';
import type { StoreSettings } from '../../src/storage/store-settings.js';
import { randomFile, scratchFolder } from '../support/scratch.js';
import { tsProgram } from '../support/ts-child.js';
import type { TsProgram } from '../support/ts-child.js';
import { until } from '../support/until.js';

export interface StoreUnderTest {
  /** Empty at the beginning of each test. */
  readonly store: ObjectStore;
  /** The same as plain data, so that another process can open it. */
  readonly address: StoreSettings;
  /** What its transfers hold in memory at most. */
  readonly bufferBytes: number;
}

const mebibyte = 1024 * 1024;

export function objectStoreSuite(name: string, makeStore: () => Promise<StoreUnderTest>): void {
  describe(`${name}: small objects`, () => {
    smallObjects(makeStore);
  });
  describe(`${name}: keys and listings`, () => {
    keysAndListings(makeStore);
  });
  describe(`${name}: files`, () => {
    files(makeStore);
  });
  describe(`${name}: racing and killed processes`, () => {
    processes(makeStore);
  });
}

function smallObjects(makeStore: () => Promise<StoreUnderTest>): void {
  test('an object is created once: again with the same body is "same", with another is "different" and changes nothing', async () => {
    const { store } = await makeStore();
    expect(await store.create('a/b.json', '{"x":1}')).toBe('created');
    expect(await store.create('a/b.json', Buffer.from('{"x":1}'))).toBe('same');
    expect(await store.create('a/b.json', '{"x":2}')).toBe('different');
    expect(await store.create('a/b.json', '')).toBe('different');
    expect((await store.read('a/b.json'))?.toString()).toBe('{"x":1}');
  });

  test('an empty object exists', async () => {
    const { store } = await makeStore();
    expect(await store.create('empty', '')).toBe('created');
    expect((await store.read('empty'))?.byteLength).toBe(0);
    expect(await store.head('empty')).toMatchObject({ sizeBytes: 0 });
    expect(await text(await store.openRead('empty'))).toBe('');
  });

  test('what does not exist is undefined, and an error only where bytes were asked for', async () => {
    const { store } = await makeStore();
    await store.create('folder/object', 'x');
    for (const key of ['nothing', 'folder', 'folder/nothing', 'folder/object/below']) {
      expect(await store.read(key)).toBeUndefined();
      expect(await store.head(key)).toBeUndefined();
      expect(await store.digest(key)).toBeUndefined();
      await expect(store.openRead(key)).rejects.toMatchObject({ code: 'NotFound' });
      await store.delete(key);
    }
    expect(await store.head('folder/object')).toMatchObject({ sizeBytes: 1 });
  });

  test('a deleted object is gone and its key may be created again', async () => {
    const { store } = await makeStore();
    await store.create('k', 'one');
    await store.delete('k');
    expect(await store.read('k')).toBeUndefined();
    expect(await store.create('k', 'two')).toBe('created');
  });

  test('a range is read from its start up to, not including, its end', async () => {
    const { store } = await makeStore();
    await store.create('k', '0123456789');
    expect(await text(await store.openRead('k', { start: 3, end: 6 }))).toBe('345');
    expect(await text(await store.openRead('k', { start: 7 }))).toBe('789');
    expect(await text(await store.openRead('k', { end: 2 }))).toBe('01');
  });

  test('of 16 racing creations in one process exactly one wins, and the object is its body', async () => {
    const { store } = await makeStore();
    const outcomes = await Promise.all(Array.from({ length: 16 }, (_, index) => store.create('race', `body ${index}`)));
    const winners = outcomes.flatMap((outcome, index) => (outcome === 'created' ? [index] : []));
    expect(winners).toHaveLength(1);
    expect(outcomes.filter((outcome) => outcome === 'different')).toHaveLength(15);
    expect((await store.read('race'))?.toString()).toBe(`body ${winners[0]!}`);
  });
}

function keysAndListings(makeStore: () => Promise<StoreUnderTest>): void {
  const refused = [
    '',
    '/etc/passwd',
    '..',
    'a/../../b',
    'a/..',
    './a',
    'a/./b',
    'a//b',
    'a/',
    'a\nb',
    'a\0b',
    'a\u007f',
    '\ud800',
    '.tmp/a',
  ];
  test.each([...refused, 'x'.repeat(256), `${'x/'.repeat(600)}x`])(
    'the key %j is refused by every method',
    async (key) => {
      const { store } = await makeStore();
      const path = join(await scratchFolder(), 'file');
      const options = { sha256: '0'.repeat(64), sizeBytes: 0 };
      const keyInvalid = {
        code: 'KeyInvalid',
        message: expect.stringMatching(/^The key ".*use relative segments/s) as string,
      };
      await expect(store.create(key, 'x')).rejects.toMatchObject(keyInvalid);
      await expect(store.read(key)).rejects.toMatchObject(keyInvalid);
      await expect(store.head(key)).rejects.toMatchObject(keyInvalid);
      await expect(store.digest(key)).rejects.toMatchObject(keyInvalid);
      await expect(store.openRead(key)).rejects.toMatchObject(keyInvalid);
      await expect(store.delete(key)).rejects.toMatchObject(keyInvalid);
      await expect(store.putFile(key, path, options)).rejects.toMatchObject(keyInvalid);
      await expect(store.getFile(key, path, options)).rejects.toMatchObject(keyInvalid);
    },
  );

  test('a listing leads nowhere else either', async () => {
    const { store } = await makeStore();
    for (const prefix of ['../', '/etc/', 'a/../b', 'a//']) {
      await expect(keysOf(store, prefix)).rejects.toMatchObject({ code: 'KeyInvalid' });
    }
  });

  test('a listing is in the byte order of the whole keys, with sizes, whatever the order of creation', async () => {
    const { store } = await makeStore();
    const sorted = ['a!', 'a-b/c', 'a.json', 'a/b', 'a/b.c/d', 'a/b0', 'a0', 'b/1', 'b/10', 'b/2', 'ﬀ', '😀'];
    for (const key of [...sorted].reverse()) await store.create(key, key);
    const listed = [];
    for await (const object of store.list('')) listed.push(object);
    expect(listed).toEqual(sorted.map((key) => ({ key, sizeBytes: Buffer.byteLength(key) })));
  });

  test('a prefix is any beginning of a key', async () => {
    const { store } = await makeStore();
    for (const key of ['log/000001.json', 'log/000002.json', 'logs/a', 'lo', 'log/sub/x']) await store.create(key, 'x');
    expect(await keysOf(store, 'log/')).toEqual(['log/000001.json', 'log/000002.json', 'log/sub/x']);
    expect(await keysOf(store, 'log')).toEqual(['log/000001.json', 'log/000002.json', 'log/sub/x', 'logs/a']);
    expect(await keysOf(store, 'log/00000')).toEqual(['log/000001.json', 'log/000002.json']);
    expect(await keysOf(store, 'nothing/here/')).toEqual([]);
  });

  test('keys may hold spaces, Unicode and signs that addresses and shells give a meaning', async () => {
    const { store } = await makeStore();
    const keys = [
      'a b/c d.jpg',
      '图像/测试 1.png',
      'é/é',
      'q?x=1&y#z/%2e%2e/a\'b"c/$HOME`*;',
      'back\\slash',
      '-dash',
      '~',
    ];
    for (const key of keys) expect(await store.create(key, key)).toBe('created');
    for (const key of keys) expect((await store.read(key))?.toString()).toBe(key);
    expect((await keysOf(store, '')).toSorted()).toEqual(keys.toSorted());
  });
}

function files(makeStore: () => Promise<StoreUnderTest>): void {
  // Goal: a checkpoint's shards never pass through the memory whole.
  // Method: 128 MiB each way; every 8 MiB, what buffers hold after a garbage collection (before it, garbage counts too).
  test('a file of 128 MiB goes in and out unchanged, in bounded memory', async () => {
    const { store, bufferBytes } = await makeStore();
    const folder = await scratchFolder();
    const file = await randomFile(join(folder, 'in'), 128 * mebibyte);
    const before = liveBufferBytes();
    let most = 0;
    const seen: number[] = [];
    const onProgress = ({ bytesDone, bytesTotal }: Progress): void => {
      if (Math.floor(bytesDone / (8 * mebibyte)) !== Math.floor((seen.at(-1) ?? 0) / (8 * mebibyte))) {
        most = Math.max(most, liveBufferBytes() - before);
      }
      expect(bytesTotal).toBe(file.sizeBytes);
      seen.push(bytesDone);
    };
    const options = { sha256: file.sha256, sizeBytes: file.sizeBytes, onProgress };
    expect(await store.putFile('big', file.path, options)).toBe('created');
    expect(seen.at(-1)).toBe(file.sizeBytes);
    await store.getFile('big', join(folder, 'out'), options);
    expect(await store.digest('big')).toEqual({ sha256: file.sha256, sizeBytes: file.sizeBytes });
    expect((await readFile(join(folder, 'in'))).equals(await readFile(join(folder, 'out')))).toBe(true);
    expect(seen.length).toBeGreaterThan(8);
    expect(most).toBeLessThanOrEqual(bufferBytes);
  });

  test('a file is stored once: again is "same", another content is a Conflict and changes nothing', async () => {
    const { store } = await makeStore();
    const folder = await scratchFolder();
    const one = await randomFile(join(folder, 'one'), 3 * mebibyte);
    const two = await randomFile(join(folder, 'two'), 3 * mebibyte);
    expect(await store.putFile('k', one.path, one)).toBe('created');
    expect(await store.putFile('k', one.path, one)).toBe('same');
    const message = expect.stringContaining(one.sha256) as string;
    await expect(store.putFile('k', two.path, two)).rejects.toMatchObject({ code: 'Conflict', message });
    expect(await store.digest('k')).toEqual({ sha256: one.sha256, sizeBytes: one.sizeBytes });
  });

  test('a file that is not what was promised is not stored', async () => {
    const { store } = await makeStore();
    const file = await randomFile(join(await scratchFolder(), 'file'), 2 * mebibyte);
    for (const wrong of [
      { ...file, sha256: sha256Hex('other') },
      { ...file, sizeBytes: 5 },
      { ...file, sizeBytes: 3 * mebibyte },
    ]) {
      await expect(store.putFile('k', file.path, wrong)).rejects.toMatchObject({ code: 'DigestMismatch' });
    }
    await expect(store.putFile('k', `${file.path}.not`, file)).rejects.toMatchObject({ code: 'NotFound' });
    expect(await keysOf(store, '')).toEqual([]);
  });

  test.each([0, 1, 65_536, 65_537, 300_000])('a file of %i bytes goes in and out unchanged', async (sizeBytes) => {
    const { store } = await makeStore();
    const folder = await scratchFolder();
    const file = await randomFile(join(folder, 'in'), sizeBytes);
    await store.putFile('k', file.path, file);
    await store.getFile('k', join(folder, 'deep/er/out'), file);
    expect(sha256Hex(await readFile(join(folder, 'deep/er/out')))).toBe(file.sha256);
  });

  // The stored object is replaced by delete and create: the only way to damage an object that every kind of store has.
  test('a flipped byte and a truncation are found, and nothing of them becomes visible', async () => {
    const { store } = await makeStore();
    const folder = await scratchFolder();
    const file = await randomFile(join(folder, 'in'), mebibyte);
    const good = await readFile(file.path);
    const flipped = Buffer.from(good);
    flipped[mebibyte / 2]! ^= 1;
    const out = join(folder, 'out');
    for (const [bad, words] of [
      [flipped, 'SHA-256'],
      [good.subarray(0, -1), 'truncated'],
      [Buffer.concat([good, good]), 'too long'],
    ] as const) {
      await store.delete('k');
      await store.create('k', bad);
      const message = expect.stringContaining(words) as string;
      await expect(store.getFile('k', out, file)).rejects.toMatchObject({ code: 'DigestMismatch', message });
      expect(await store.digest('k')).toEqual({ sha256: sha256Hex(bad), sizeBytes: bad.byteLength });
      for (const left of [out, `${out}.part`]) await expect(lstat(left)).rejects.toMatchObject({ code: 'ENOENT' });
    }
    await expect(store.getFile('nothing', out, file)).rejects.toMatchObject({ code: 'NotFound' });
  });

  test('a getFile that was cut goes on from where it was, and the result is verified whole', async () => {
    const { store } = await makeStore();
    const folder = await scratchFolder();
    const file = await randomFile(join(folder, 'in'), 16 * mebibyte);
    await store.putFile('k', file.path, file);
    const out = join(folder, 'out');
    const cut = new AbortController();
    const reason = new Error('cut by the test');
    const onProgress = ({ bytesDone }: Progress): void => {
      if (bytesDone > 6 * mebibyte) cut.abort(reason);
    };
    await expect(store.getFile('k', out, { ...file, signal: cut.signal, onProgress })).rejects.toBe(reason);
    await expect(lstat(out)).rejects.toMatchObject({ code: 'ENOENT' });
    const kept = (await lstat(`${out}.part`)).size;
    expect(kept).toBeGreaterThan(6 * mebibyte);
    expect(kept).toBeLessThan(16 * mebibyte);

    const seen: number[] = [];
    await store.getFile('k', out, { ...file, onProgress: (progress) => seen.push(progress.bytesDone) });
    expect(seen[0]).toBeGreaterThan(kept);
    expect(sha256Hex(await readFile(out))).toBe(file.sha256);
  });

  test('a part of something else costs a fresh try, not the file; a file that is there already costs nothing', async () => {
    const { store } = await makeStore();
    const folder = await scratchFolder();
    const file = await randomFile(join(folder, 'in'), mebibyte);
    await store.putFile('k', file.path, file);
    const out = join(folder, 'out');
    await writeFile(`${out}.part`, randomBytes(1000));
    await store.getFile('k', out, file);
    expect(sha256Hex(await readFile(out))).toBe(file.sha256);
    await store.delete('k');
    await store.getFile('k', out, file);
  });

  test('an abort ends every transfer with its own reason', async () => {
    const { store } = await makeStore();
    const folder = await scratchFolder();
    const file = await randomFile(join(folder, 'in'), 32 * mebibyte);
    const reason = new Error('stop');
    const stopAtOnce = (): { readonly signal: AbortSignal; readonly onProgress: () => void } => {
      const controller = new AbortController();
      return {
        signal: controller.signal,
        onProgress: () => {
          controller.abort(reason);
        },
      };
    };
    await expect(store.putFile('k', file.path, { ...file, ...stopAtOnce() })).rejects.toBe(reason);
    expect(await keysOf(store, '')).toEqual([]);
    await store.putFile('k', file.path, file);
    await expect(store.getFile('k', join(folder, 'out'), { ...file, ...stopAtOnce() })).rejects.toBe(reason);
    await expect(store.digest('k', stopAtOnce())).rejects.toBe(reason);
    await expect(store.create('c', 'x', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });
}

function processes(makeStore: () => Promise<StoreUnderTest>): void {
  const programs: Partial<Record<'race' | 'put' | 'create-many', TsProgram>> = {};
  beforeAll(async () => {
    for (const name of ['race', 'put', 'create-many'] as const)
      programs[name] = await tsProgram(`test/conformance/children/${name}.ts`);
  });
  afterAll(async () => {
    for (const program of Object.values(programs)) await program.dispose();
  });

  // Goal: one fence primitive for many control workers. Method: two processes create the same 150 keys, in step by the clock.
  test('of two racing processes exactly one creates each object, and every object is the body of its winner', async () => {
    const { store, address } = await makeStore();
    const rounds = 150;
    const names = ['ann', 'bob'];
    const racing = Promise.all(
      names.map((name) => programs.race!.run(JSON.stringify(address), name, String(rounds), '40')),
    );
    await until('both racers are ready', 30_000, async () => (await keysOf(store, 'ready/'))[1]);
    await store.create('start', String(Date.now() + 500));
    const outputs = await racing;
    const outcomes = outputs.map((output) => output.split(','));
    const wins = [0, 0];
    for (let round = 0; round < rounds; round++) {
      const winners = [0, 1].filter((index) => outcomes[index]![round] === 'created');
      expect(winners, `round ${round}`).toHaveLength(1);
      expect(outcomes[1 - winners[0]!]![round]).toBe('different');
      const body = (await store.read(`race/${round}.json`))?.toString();
      expect(body).toBe(JSON.stringify({ winner: names[winners[0]!] }));
      wins[winners[0]!]! += 1;
    }
    // Otherwise they did not race and the test has proven nothing.
    expect(Math.min(...wins), `wins ${wins.join(':')}`).toBeGreaterThan(0);
  });

  test('a putFile killed in the middle leaves nothing visible, and the next attempt succeeds', async () => {
    const { store, address } = await makeStore();
    const folder = await scratchFolder();
    const file = await randomFile(join(folder, 'in'), 32 * mebibyte);
    const child = programs.put!.start(JSON.stringify(address), 'dir/k', file.path, file.sha256, String(file.sizeBytes));
    onTestFinished(() => void child.kill('SIGKILL'));
    const [said] = (await once(child.stdout!, 'data')) as [Buffer];
    expect(said.toString()).toBe('half-way');
    child.kill('SIGKILL');
    await once(child, 'close');
    expect(await keysOf(store, '')).toEqual([]);
    expect(await store.head('dir/k')).toBeUndefined();
    expect(await store.putFile('dir/k', file.path, file)).toBe('created');
    expect(await store.digest('dir/k')).toEqual({ sha256: file.sha256, sizeBytes: file.sizeBytes });
  });

  test('a process killed while it creates objects leaves each of them whole or absent, and all that it reported', async () => {
    const { store, address } = await makeStore();
    // Large, so that writing takes longer than the kill needs to arrive; a random wait, so that it arrives anywhere in it.
    const sizeBytes = 32 * mebibyte;
    for (let round = 0; round < 6; round++) {
      const child = programs['create-many']!.start(JSON.stringify(address), String(sizeBytes));
      onTestFinished(() => void child.kill('SIGKILL'));
      const reported: string[] = [];
      child.stdout!.on('data', (chunk: Buffer) => reported.push(...chunk.toString().trim().split('\n')));
      await once(child.stdout!, 'data');
      await delay(Math.random() * 40);
      child.kill('SIGKILL');
      await once(child, 'close');
      for await (const object of store.list('')) expect(object.sizeBytes).toBe(sizeBytes);
      for (const number of reported) expect(await store.head(`many/${number}`)).toMatchObject({ sizeBytes });
      for (const key of await keysOf(store, 'many/')) await store.delete(key);
    }
  });
}

async function keysOf(store: ObjectStore, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix)) keys.push(key);
  return keys;
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

function liveBufferBytes(): number {
  collectGarbage();
  return process.memoryUsage().arrayBuffers;
}

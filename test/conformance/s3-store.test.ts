/** The S3 store against the suite of all stores, and what only S3 can get wrong: parts, fences, servers that go away. All on a real server. */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ListMultipartUploadsCommand, ListPartsCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { openStoreToWrite } from '../../src/storage/open-store.js';
import { runParallel } from '../../src/storage/parallel.js';
import { openS3 } from '../../src/storage/s3-client.js';
import { S3Store } from '../../src/storage/s3-store.js';
import type { S3Settings } from '../../src/storage/store-settings.js';
import { startCarelessS3 } from '../support/careless-s3.js';
import { startCountingProxy } from '../support/counting-proxy.js';
import type { CountingProxy } from '../support/counting-proxy.js';
import { flipByte } from '../support/run-files.js';
import { randomFile, scratchFolder } from '../support/scratch.js';
import { tsProgram } from '../support/ts-child.js';
import { Gateway, noGateway } from '../support/versitygw.js';
import { objectStoreSuite } from './object-store.suite.js';

const mebibyte = 1024 * 1024;

describe.skipIf(noGateway())('on versitygw', () => {
  let gateway: Gateway;
  beforeAll(async () => {
    gateway = await Gateway.start();
  });
  afterAll(() => gateway.dispose());
  const fresh = (more: Partial<S3Settings> = {}): S3Settings => gateway.settings(`of a test/${randomUUID()}`, more);

  objectStoreSuite('S3 store', () => {
    const s3 = fresh();
    // The store's buffers (48 MiB), and what is on its way through sockets.
    return Promise.resolve({ store: new S3Store(s3), address: { s3 }, bufferBytes: 80 * mebibyte });
  });

  describe('transfers that were cut', () => {
    let proxy: CountingProxy;
    beforeAll(async () => {
      proxy = await startCountingProxy(gateway.endpoint);
    });
    afterAll(() => proxy.stop());

    /** Part numbers that were sent since a moment, in order. */
    const partsSent = (since: number): readonly number[] =>
      proxy.asked
        .slice(since)
        .filter(({ method, path, query }) => method === 'PUT' && path.endsWith('/k') && query.has('partNumber'))
        .map(({ query }) => Number(query.get('partNumber')))
        .sort((a, b) => a - b);

    test('of an upload that was killed only the missing parts are sent by the next process', async () => {
      const s3 = fresh();
      const folder = await scratchFolder();
      const file = await randomFile(join(folder, 'in'), 80 * mebibyte + 7);
      const program = await tsProgram('test/conformance/children/put.ts');
      onTestFinished(program.dispose);
      const child = program.start(JSON.stringify({ s3 }), 'k', file.path, file.sha256, String(file.sizeBytes));
      onTestFinished(() => void child.kill('SIGKILL'));
      await once(child.stdout!, 'data');
      child.kill('SIGKILL');
      await once(child, 'close');
      const there = await partsOnServer(s3, 'k');
      expect(there.length).toBeGreaterThanOrEqual(5);
      expect(there.length).toBeLessThan(11);

      const since = proxy.asked.length;
      const store = new S3Store({ ...s3, endpoint: proxy.endpoint });
      expect(await store.putFile('k', file.path, file)).toBe('created');
      // The server may finish a part that had arrived whole when its sender died: that one is not sent again either.
      const sent = partsSent(since);
      expect(sent.length).toBeGreaterThan(0);
      expect(sent.filter((number) => there.includes(number))).toEqual([]);
      expect(new Set(sent).size).toBe(sent.length);
      expect(await store.digest('k')).toEqual({ sha256: file.sha256, sizeBytes: file.sizeBytes });
      expect(await store.head('k')).toEqual({ sha256: file.sha256, sizeBytes: file.sizeBytes });
    });

    test('an upload that was begun for another file is not gone on with', async () => {
      const s3 = fresh({ endpoint: proxy.endpoint });
      const store = new S3Store(s3);
      const folder = await scratchFolder();
      const first = await randomFile(join(folder, 'first'), 32 * mebibyte);
      const second = await randomFile(join(folder, 'second'), 32 * mebibyte);
      const cut = new AbortController();
      const onProgress = (): void => {
        cut.abort(new Error('cut by the test'));
      };
      await expect(store.putFile('k', first.path, { ...first, signal: cut.signal, onProgress })).rejects.toThrow(
        'cut by the test',
      );
      expect(await partsOnServer(s3, 'k')).not.toEqual([]);
      const since = proxy.asked.length;
      expect(await store.putFile('k', second.path, second)).toBe('created');
      // The first four may be on their way when the first mismatch is found.
      expect(partsSent(since).slice(-4)).toEqual(expect.arrayContaining([4]));
      expect(await store.digest('k')).toEqual({ sha256: second.sha256, sizeBytes: second.sizeBytes });
      expect(await store.head('k')).toMatchObject({ sha256: second.sha256 });
      expect(await uploadsOnServer(s3)).toBe(0);
    });

    test('of a download that was cut only the rest is asked for', async () => {
      const store = new S3Store(fresh({ endpoint: proxy.endpoint }));
      const folder = await scratchFolder();
      const file = await randomFile(join(folder, 'in'), 80 * mebibyte);
      await store.putFile('k', file.path, file);
      const out = join(folder, 'out');
      const cut = new AbortController();
      const onProgress = ({ bytesDone }: { readonly bytesDone: number }): void => {
        if (bytesDone >= 40 * mebibyte) cut.abort(new Error('cut by the test'));
      };
      await expect(store.getFile('k', out, { ...file, signal: cut.signal, onProgress })).rejects.toThrow('cut');
      const { length: kept } = await readFile(`${out}.part`);
      expect(kept).toBeGreaterThanOrEqual(40 * mebibyte);
      const since = proxy.asked.length;
      await store.getFile('k', out, file);
      const starts = proxy.asked.slice(since).map(({ range }) => Number(/^bytes=(\d+)-/.exec(range ?? '')?.[1] ?? 0));
      expect(Math.min(...starts)).toBe(kept);
      expect(starts).toHaveLength((80 * mebibyte - kept) / (8 * mebibyte));
    });

    test('behind the first one, what moves bytes goes past the SDK, whatever characters its key has', async () => {
      const store = new S3Store(fresh({ endpoint: proxy.endpoint }));
      const folder = await scratchFolder();
      const file = await randomFile(join(folder, 'in'), 100_000);
      await store.putFile('first', file.path, file);
      const since = proxy.asked.length;
      for (const key of ['plain', "ä b+(1)!*'~@&=,;$.png", '日本/x%20y#?.z']) {
        expect(await store.putFile(key, file.path, file)).toBe('created');
        expect(await store.putFile(key, file.path, file)).toBe('same');
        await store.getFile(key, join(folder, 'out', key), file);
      }
      // The SDK says of each of its requests what it is.
      expect(proxy.asked.slice(since).map(({ method, query }) => [method, query.has('x-id')])).toEqual(
        Array.from({ length: 3 }, () => ['PUT', 'PUT', 'GET', 'GET'].map((method) => [method, false])).flat(),
      );
    });

    async function partsOnServer(s3: S3Settings, key: string): Promise<readonly number[]> {
      const { client, bucket, prefix } = openS3(s3);
      const target = { Bucket: bucket, Key: `${prefix}${key}` };
      const { Uploads } = await client.send(new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: target.Key }));
      const { Parts } = await client.send(new ListPartsCommand({ ...target, UploadId: Uploads?.[0]?.UploadId }));
      return (Parts ?? []).flatMap(({ PartNumber }) => PartNumber ?? []);
    }

    async function uploadsOnServer(s3: S3Settings): Promise<number> {
      const { client, bucket, prefix } = openS3(s3);
      const { Uploads } = await client.send(new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: prefix }));
      return Uploads?.length ?? 0;
    }
  });

  test('a listing that is longer than one answer of the server comes whole and in order', async () => {
    const store = new S3Store(fresh());
    const keys = Array.from({ length: 1_100 }, (_, index) => `log/${String(index).padStart(6, '0')}.json`);
    await runParallel(keys, store.parallelFiles, undefined, (key) => store.create(key, key));
    const listed: string[] = [];
    for await (const { key } of store.list('log/')) listed.push(key);
    expect(listed).toEqual(keys);
  });

  test('a bit that a disk has turned over is found by every reader', async () => {
    const s3 = fresh();
    const store = new S3Store(s3);
    const file = await randomFile(join(await scratchFolder(), 'file'), 1_000_000);
    await store.putFile('file', file.path, file);
    await store.create('fact', '{"a":1}');
    for (const key of ['file', 'fact']) await flipByte(join(gateway.folder, 'data/anneal', s3.prefix, key));
    const damaged = { code: 'DigestMismatch' };
    await expect(store.read('fact')).rejects.toMatchObject(damaged);
    await expect(store.getFile('file', `${file.path}.out`, file)).rejects.toMatchObject(damaged);
    await expect(store.putFile('file', file.path, file)).rejects.toMatchObject({ code: 'Conflict' });
    expect(await store.digest('file')).not.toMatchObject({ sha256: file.sha256 });
  });

  test('a store whose server or bucket is away says so, and does not look empty; when it is back, all is there', async () => {
    const store = new S3Store(fresh());
    await store.create('log/000001.json', 'x');
    const everyReader = async (matching: object): Promise<void> => {
      await expect(store.read('log/000001.json')).rejects.toMatchObject(matching);
      await expect(store.head('log/000001.json')).rejects.toMatchObject(matching);
      await expect(store.digest('log/000001.json')).rejects.toMatchObject(matching);
      await expect(store.list('log/').next()).rejects.toMatchObject(matching);
      await expect(store.create('log/000002.json', 'y')).rejects.toMatchObject(matching);
    };
    await gateway.kill();
    const words = expect.stringMatching(/ECONNREFUSED.*Check that the server runs/) as string;
    await everyReader({ code: 'Unavailable', message: words });
    await gateway.run();
    expect((await store.read('log/000001.json'))?.toString()).toBe('x');

    const bucketless = new S3Store(fresh({ bucket: 'nobody' }));
    const create = { code: 'Unavailable', message: expect.stringContaining('Create') as string };
    await expect(bucketless.read('k')).rejects.toMatchObject(create);
    await expect(bucketless.head('k')).rejects.toMatchObject(create);
    await expect(bucketless.list('').next()).rejects.toMatchObject(create);
    await expect(bucketless.create('k', 'x')).rejects.toMatchObject(create);
  });

  test('wrong credentials are told, with what to check and without the secret', async () => {
    const credentialsFile = join(await scratchFolder(), 'credentials');
    await writeFile(credentialsFile, '[default]\naws_access_key_id = test\naws_secret_access_key = not-the-secret\n');
    const store = new S3Store(fresh({ credentialsFile }));
    const error: unknown = await store.create('k', 'x').catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'Unavailable' });
    expect(String(error)).toMatch(/SignatureDoesNotMatch, HTTP 403.*Check the credentials/);
    expect(String(error)).not.toContain('not-the-secret');
  });

  test('with weak fencing the same suite of answers is given to writers that do not race', async () => {
    const store = new S3Store(fresh({ fencing: 'weak' }));
    expect(await store.create('k', 'x')).toBe('created');
    expect(await store.create('k', 'x')).toBe('same');
    expect(await store.create('k', 'y')).toBe('different');
    const file = await randomFile(join(await scratchFolder(), 'file'), 20 * mebibyte);
    expect(await store.putFile('file', file.path, file)).toBe('created');
    expect(await store.putFile('file', file.path, file)).toBe('same');
  });
});

describe('a server that does not know If-None-Match', () => {
  let server: Awaited<ReturnType<typeof startCarelessS3>>;
  let settings: S3Settings;
  beforeAll(async () => {
    server = await startCarelessS3();
    settings = { endpoint: server.endpoint, bucket: 'careless', prefix: '', pathStyle: true, fencing: 'strict' };
  });
  afterAll(() => server.stop());

  async function withCredentials(more: Partial<S3Settings> = {}): Promise<S3Settings> {
    const credentialsFile = join(await scratchFolder(), 'credentials');
    await writeFile(credentialsFile, '[default]\naws_access_key_id = a\naws_secret_access_key = b\n');
    return { ...settings, credentialsFile, ...more };
  }

  test('is refused at the start and by every write, with what to do', async () => {
    const refusal = { code: 'CannotFence', message: expect.stringContaining('fencing: weak') as string };
    const s3 = await withCredentials();
    await expect(openStoreToWrite({ s3 })).rejects.toMatchObject(refusal);
    const store = new S3Store(s3);
    await expect(store.create('k', 'x')).rejects.toMatchObject(refusal);
    const file = await randomFile(join(await scratchFolder(), 'file'), 10);
    await expect(store.putFile('file', file.path, file)).rejects.toMatchObject(refusal);
    expect(await store.read('k')).toBeUndefined();
  });

  test('is taken when the settings accept weak fencing', async () => {
    const store = await openStoreToWrite({ s3: await withCredentials({ fencing: 'weak' }) });
    expect(await store.create('k', 'x')).toBe('created');
    expect(await store.create('k', 'x')).toBe('same');
    expect(await store.create('k', 'y')).toBe('different');
  });
});

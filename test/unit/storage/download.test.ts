/** Goal: a source arrives whole or not at all, whatever the line and the server do. Method: a real server that does it. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { lstat, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { downloadSources } from '../../../src/storage/download.js';
import type { DownloadOptions, DownloadedFile, Source } from '../../../src/storage/download.js';
import { scanFolder } from '../../../src/storage/file-set.js';
import { sha256Hex } from '../../../src/storage/hashing.js';
import { fileServer } from '../../support/file-server.js';
import { scratchFolder, writeTree } from '../../support/scratch.js';
import { tsProgram } from '../../support/ts-child.js';

const quick: DownloadOptions = { firstDelayMs: 1 };
const etag = '"v1"';

interface Fetched {
  readonly files: readonly DownloadedFile[];
  readonly bytes: Buffer;
}

async function fetchOne(
  folder: string,
  source: Omit<Source, 'path'>,
  options: DownloadOptions = quick,
): Promise<Fetched> {
  const files = await downloadSources([{ ...source, path: 'file.bin' }], folder, options);
  return { files, bytes: await readFile(join(folder, 'file.bin')) };
}

describe('over HTTP', () => {
  test('a file arrives whole, with its digest and with progress', async () => {
    const body = randomBytes(1_000_000);
    const server = await fileServer(body, { etag });
    const folder = join(await scratchFolder(), 'target');
    const seen: unknown[] = [];
    const { files, bytes } = await fetchOne(
      folder,
      { url: server.url },
      { onProgress: (progress) => seen.push(progress) },
    );
    expect(files).toEqual([{ path: 'file.bin', sizeBytes: 1_000_000, sha256: sha256Hex(body), reused: false }]);
    expect(bytes.equals(body)).toBe(true);
    expect(server.requests).toHaveLength(1);
    expect(seen.at(-1)).toEqual({ bytesDone: 1_000_000, bytesTotal: 1_000_000, filesDone: 1, filesTotal: 1 });
    expect(await readdir(folder)).toEqual(['file.bin']);
  });

  test('a line that is cut at random offsets is gone on with, and no byte is sent twice', async () => {
    const body = randomBytes(3_000_000);
    const cuts = Array.from({ length: 12 }, () => 1 + Math.floor(Math.random() * 200_000));
    const server = await fileServer(body, { etag, cutAfter: (index) => cuts[index] });
    const { bytes } = await fetchOne(await scratchFolder(), { url: server.url });
    expect(bytes.equals(body), `cuts ${cuts.join()}`).toBe(true);
    expect(server.requests).toHaveLength(13);
    expect(server.requests.slice(1).every((request) => request.ifRange === etag)).toBe(true);
    // What was in flight at a cut may be lost: at most a buffer of the socket each.
    expect(server.bytesSent()).toBeLessThan(3_000_000 + 12 * 200_000);
  });

  test.each([
    { etag: undefined, sha256: true },
    { etag: undefined, sha256: false },
    { etag, sha256: false },
  ])('a server that ignores ranges and cuts twice costs whole fetches, not the file (%j)', async (given) => {
    const body = randomBytes(500_000);
    const server = await fileServer(body, {
      etag: given.etag,
      ranges: false,
      cutAfter: (index) => [100_000, 300_000][index],
    });
    const sha256 = given.sha256 ? sha256Hex(body) : undefined;
    const { bytes } = await fetchOne(await scratchFolder(), { url: server.url, sha256 });
    expect(bytes.equals(body)).toBe(true);
    expect(server.requests).toHaveLength(3);
  });

  test('a file that changes midway is fetched from its beginning: the result is one version, not two halves', async () => {
    const [one, two] = [randomBytes(800_000), randomBytes(900_000)];
    const server = await fileServer(one, { etag, cutAfter: (index) => (index === 0 ? 400_000 : undefined) });
    server.behaviour.onRequest = (index) => {
      if (index === 1) Object.assign(server.behaviour, { body: two, etag: '"v2"' });
    };
    const { bytes } = await fetchOne(await scratchFolder(), { url: server.url });
    expect(bytes.equals(two)).toBe(true);
  });

  test('a server that goes on with another version, unasked, is caught by its ETag', async () => {
    const [one, two] = [randomBytes(500_000), randomBytes(500_000)];
    const server = await fileServer(one, { etag, cutAfter: (index) => (index === 0 ? 200_000 : undefined) });
    server.behaviour.onRequest = (index) => {
      // It gives the range though If-Range names the old version: its Last-Modified is what the client sent.
      if (index === 1) Object.assign(server.behaviour, { body: two, etag: '"v2"', lastModified: etag });
    };
    const { bytes } = await fetchOne(await scratchFolder(), { url: server.url });
    expect(bytes.equals(two)).toBe(true);
  });

  test('without any validator, halves of two versions are caught by the expected digest', async () => {
    const [one, two] = [randomBytes(500_000), randomBytes(500_000)];
    const server = await fileServer(one, { cutAfter: (index) => (index === 0 ? 200_000 : undefined) });
    server.behaviour.onRequest = (index) => {
      if (index === 1) server.behaviour.body = two;
    };
    const { bytes } = await fetchOne(await scratchFolder(), { url: server.url, sha256: sha256Hex(two) });
    expect(bytes.equals(two)).toBe(true);
  });

  test('a server that is busy twice is asked again, after the time it names', async () => {
    const body = randomBytes(1000);
    const server = await fileServer(body, {
      etag,
      answers: [{ status: 503 }, { status: 503, headers: { 'retry-after': '1' } }],
    });
    const before = performance.now();
    const { bytes } = await fetchOne(await scratchFolder(), { url: server.url });
    expect(bytes.equals(body)).toBe(true);
    expect(server.requests).toHaveLength(3);
    expect(performance.now() - before).toBeGreaterThan(990);
  });

  test('a server that stays busy is given up on, in a sentence', async () => {
    const server = await fileServer(randomBytes(10), { answers: Array.from({ length: 20 }, () => ({ status: 503 })) });
    await expect(fetchOne(await scratchFolder(), { url: server.url })).rejects.toMatchObject({
      code: 'Unavailable',
      message: `Gave up on ${server.url} after 5 attempts without a new byte: ${server.url} answered 503 Service Unavailable.`,
    });
    expect(server.requests).toHaveLength(5);
  });

  test('a port where nobody listens is given up on, with the reason', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    await new Promise((closed) => server.close(closed));
    const attempt = fetchOne(await scratchFolder(), { url: `http://127.0.0.1:${port}/x` });
    await expect(attempt).rejects.toMatchObject({
      code: 'Unavailable',
      message: expect.stringContaining('ECONNREFUSED') as string,
    });
  });

  test.each([404, 410, 403, 401])('an answer of %i is final', async (status) => {
    const server = await fileServer(randomBytes(10), { answers: [{ status }] });
    await expect(fetchOne(await scratchFolder(), { url: server.url })).rejects.toMatchObject({ code: 'NotFound' });
    expect(server.requests).toHaveLength(1);
  });

  test('a line that falls silent is cut and gone on with', async () => {
    const body = randomBytes(400_000);
    const server = await fileServer(body, {
      etag,
      stall: true,
      cutAfter: (index) => (index === 0 ? 100_000 : undefined),
    });
    const { bytes } = await fetchOne(await scratchFolder(), { url: server.url }, { ...quick, idleTimeoutMs: 300 });
    expect(bytes.equals(body)).toBe(true);
    expect(server.requests[1]?.range).toBe('bytes=100000-399999');
  });

  test('an empty file is a file', async () => {
    const server = await fileServer(Buffer.alloc(0), { etag });
    const { files } = await fetchOne(await scratchFolder(), { url: server.url });
    expect(files).toMatchObject([{ sizeBytes: 0, sha256: sha256Hex('') }]);
  });

  test('bytes that are not the expected ones are refused and leave nothing', async () => {
    const server = await fileServer(randomBytes(1000), { etag });
    const folder = await scratchFolder();
    const wrong = [{ sha256: sha256Hex('other') }, { sizeBytes: 999 }];
    for (const expected of wrong) {
      await expect(fetchOne(folder, { url: server.url, ...expected })).rejects.toMatchObject({
        code: 'DigestMismatch',
      });
    }
    expect(await readdir(folder)).toEqual([]);
  });

  test('a large file comes in four ranges at once, cut ones go on alone', async () => {
    const body = randomBytes(8_000_000);
    const server = await fileServer(body, { etag, cutAfter: (index) => (index === 2 ? 500_000 : undefined) });
    // No body before four requests are open: a client that asks for one after the other would wait for ever.
    const fourOpen = new Promise<void>((done) => {
      server.behaviour.onRequest = (index) => {
        if (index === 3) done();
      };
    });
    server.behaviour.beforeBody = () => fourOpen;
    const { bytes } = await fetchOne(
      await scratchFolder(),
      { url: server.url, sha256: sha256Hex(body) },
      { ...quick, parallelFromBytes: 4_000_000 },
    );
    expect(bytes.equals(body)).toBe(true);
    expect(server.mostOpen()).toBe(4);
    expect(server.requests.slice(0, 4).map((request) => request.range)).toEqual(
      expect.arrayContaining(['bytes=0-', 'bytes=2000000-3999999', 'bytes=4000000-5999999', 'bytes=6000000-7999999']),
    );
    expect(server.requests.length).toBeLessThanOrEqual(8);
  });

  test('redirects are followed within http, never to a file of this host, and not for ever', async () => {
    const body = randomBytes(1000);
    const server = await fileServer(body, { etag });
    const redirect = (location: string) => ({ status: 302, headers: { location } });
    const folder = await scratchFolder();
    server.behaviour.answers = [redirect('/elsewhere'), redirect(server.url)];
    expect((await fetchOne(folder, { url: server.url })).bytes.equals(body)).toBe(true);
    for (const location of ['file:///etc/hostname', 'ftp://127.0.0.1/x', 'data:,x']) {
      server.behaviour.answers = [redirect(location)];
      const attempt = fetchOne(await scratchFolder(), { url: server.url });
      await expect(attempt).rejects.toMatchObject({
        code: 'KeyInvalid',
        message: expect.stringContaining(location) as string,
      });
    }
    server.behaviour.answers = Array.from({ length: 10 }, () => redirect(server.url));
    await expect(fetchOne(await scratchFolder(), { url: server.url })).rejects.toThrow('more than 5 times');
  });
});

describe('the next call', () => {
  test('goes on where an aborted one stopped, and the abort keeps its reason', async () => {
    const body = randomBytes(4_000_000);
    const server = await fileServer(body, { etag });
    const folder = await scratchFolder();
    const controller = new AbortController();
    const reason = new Error('stop');
    const onProgress = ({ bytesDone }: { readonly bytesDone: number }): void => {
      if (bytesDone > 1_500_000) controller.abort(reason);
    };
    await expect(
      fetchOne(folder, { url: server.url }, { ...quick, signal: controller.signal, onProgress }),
    ).rejects.toBe(reason);
    expect(await readdir(folder)).toEqual([]);
    expect((await fetchOne(folder, { url: server.url })).bytes.equals(body)).toBe(true);
    expect(Number(/bytes=(\d+)-/.exec(server.requests[1]!.range!)![1])).toBeGreaterThan(1_500_000);
  });

  test('goes on where a killed process stopped', async () => {
    const body = randomBytes(40_000_000);
    const server = await fileServer(body, {
      etag,
      stall: true,
      cutAfter: (index) => (index === 0 ? 30_000_000 : undefined),
    });
    const folder = await scratchFolder();
    const program = await tsProgram('test/unit/storage/children/download.ts');
    onTestFinished(program.dispose);
    const child = program.start(server.url, folder);
    onTestFinished(() => void child.kill('SIGKILL'));
    let said = '';
    while (!said.includes('30000000')) said += String(((await once(child.stdout!, 'data')) as [Buffer])[0]);
    child.kill('SIGKILL');
    await once(child, 'close');
    expect((await fetchOne(folder, { url: server.url })).bytes.equals(body)).toBe(true);
    // At most the bytes since the last note are fetched again.
    expect(Number(/bytes=(\d+)-/.exec(server.requests[1]!.range!)![1])).toBeGreaterThanOrEqual(30_000_000 - 9_000_000);
  });

  test('does not fetch what the server says is unchanged, nor what has the expected digest', async () => {
    const body = randomBytes(100_000);
    const server = await fileServer(body, { etag });
    const folder = await scratchFolder();
    await fetchOne(folder, { url: server.url });
    const sent = server.bytesSent();
    expect((await fetchOne(folder, { url: server.url })).files[0]?.reused).toBe(true);
    expect(server.requests.at(-1)?.ifNoneMatch).toBe(etag);
    expect((await fetchOne(folder, { url: server.url, sha256: sha256Hex(body) })).files[0]?.reused).toBe(true);
    expect(server.requests).toHaveLength(2);
    expect(server.bytesSent()).toBe(sent);
  });

  test('fetches again what has changed there or was touched here', async () => {
    const server = await fileServer(randomBytes(100_000), { etag });
    const folder = await scratchFolder();
    await fetchOne(folder, { url: server.url });
    const two = randomBytes(100_000);
    Object.assign(server.behaviour, { body: two, etag: '"v2"' });
    expect((await fetchOne(folder, { url: server.url })).bytes.equals(two)).toBe(true);
    await writeFile(join(folder, 'file.bin'), randomBytes(100_000));
    expect((await fetchOne(folder, { url: server.url })).bytes.equals(two)).toBe(true);
    await rm(join(folder, 'file.bin'));
    expect((await fetchOne(folder, { url: server.url })).bytes.equals(two)).toBe(true);
  });
});

describe('from this host', () => {
  const tree = { 'a.txt': 'a', 'images/b c#1%.png': 'b', 'images/空.png': '' };

  test('a folder is copied with all below it, a file under its own name, and twice costs nothing', async () => {
    const scratch = await scratchFolder();
    await writeTree(join(scratch, 'source'), tree);
    const url = pathToFileURL(join(scratch, 'source')).href;
    const sources = [
      { url, path: 'all' },
      { url: `${url}/`, path: '' },
      { url: `${url}/a.txt`, path: 'one' },
    ];
    const target = join(scratch, 'target');
    const files = await downloadSources(sources, target);
    expect(files.map((file) => file.path)).toEqual((await scanFolder(target)).files.map((file) => file.path));
    expect(files).toHaveLength(7);
    for (const below of ['', 'all/']) {
      for (const [path, body] of Object.entries(tree))
        expect((await readFile(join(target, below + path))).toString()).toBe(body);
    }
    expect((await downloadSources(sources, target)).every((file) => file.reused)).toBe(true);
    await writeFile(join(scratch, 'source/a.txt'), 'A');
    expect((await downloadSources(sources, target)).filter((file) => !file.reused).map((file) => file.path)).toEqual([
      'a.txt',
      'all/a.txt',
      'one',
    ]);
  });

  test('what is not there, a link, and a digest that differs are refused', async () => {
    const scratch = await scratchFolder();
    await writeTree(join(scratch, 'source'), tree);
    const url = pathToFileURL(join(scratch, 'source')).href;
    const target = join(scratch, 'target');
    await expect(downloadSources([{ url: `${url}/nothing`, path: 'x' }], target)).rejects.toMatchObject({
      code: 'NotFound',
    });
    const sha256 = sha256Hex('other');
    await expect(downloadSources([{ url: `${url}/a.txt`, path: 'x', sha256 }], target)).rejects.toMatchObject({
      code: 'DigestMismatch',
    });
    await symlink('/etc/hostname', join(scratch, 'source/link'));
    await expect(downloadSources([{ url, path: '' }], target)).rejects.toThrow('symbolic link');
  });
});

test.each(['../x', '/x', 'a/../../x', ''])('the target path %j is refused before anything is fetched', async (path) => {
  const server = await fileServer(randomBytes(10));
  const folder = join(await scratchFolder(), 'target');
  await expect(downloadSources([{ url: server.url, path }], folder)).rejects.toMatchObject({ code: 'KeyInvalid' });
  expect(server.requests).toHaveLength(0);
  await expect(lstat(folder)).rejects.toMatchObject({ code: 'ENOENT' });
});

test.each(['ftp://host/x', 'x/y', 'file://host/x', 's3://bucket/x', ''])('the address %j is refused', async (url) => {
  await expect(downloadSources([{ url, path: 'x' }], await scratchFolder())).rejects.toMatchObject({
    code: 'KeyInvalid',
  });
});

test('one source that fails stops the others, and nothing runs on after the call', async () => {
  const slow = await fileServer(randomBytes(5_000_000), { etag, stall: true, cutAfter: () => 1_000_000 });
  const missing = await fileServer(randomBytes(10), { answers: [{ status: 404 }] });
  const sources = [
    { url: slow.url, path: 'slow' },
    { url: missing.url, path: 'missing' },
  ];
  await expect(downloadSources(sources, await scratchFolder(), quick)).rejects.toMatchObject({ code: 'NotFound' });
});

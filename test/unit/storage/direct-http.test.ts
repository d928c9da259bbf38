import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { randomBytes } from 'node:crypto';
import { expect, onTestFinished, test } from 'vitest';
import { DirectConnections } from '../../../src/storage/direct-http.js';
import type { DirectAnswer, DirectRequest } from '../../../src/storage/direct-http.js';
import { within } from '../../support/until.js';

interface TestServer {
  readonly connections: DirectConnections;
  /** Requests that came, by the connection on which they came. */
  readonly heads: { readonly connection: number; readonly text: string }[];
  readonly sockets: Socket[];
}

/** A server that says exactly these bytes to each request, whatever HTTP has to say of them. */
async function serve(answer: (socket: Socket, request: string) => void): Promise<TestServer> {
  const heads: TestServer['heads'] = [];
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    const connection = sockets.push(socket) - 1;
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => {
      const text = bytes.toString('latin1');
      heads.push({ connection, text });
      answer(socket, text);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const origin = { protocol: 'http:', hostname: '127.0.0.1', port };
  return { connections: new DirectConnections(origin, { connectMs: 5_000, silenceMs: 500 }), heads, sockets };
}

function ask({ connections }: TestServer, more: Partial<DirectRequest> = {}): Promise<DirectAnswer | undefined> {
  const request = { method: 'GET', path: '/k', headers: { host: 'here' }, target: new Uint8Array(16) } as const;
  return within('an answer', 10_000, connections.ask({ ...request, signal: undefined, ...more }));
}

test('a body comes into the target, and the connection is used again', async () => {
  const body = randomBytes(3_000_000);
  const head = `HTTP/1.1 206 Partial Content\r\nContent-Length: ${body.byteLength}\r\nContent-Range: bytes 0-1/2\r\n\r\n`;
  const server = await serve((socket) => socket.write(Buffer.concat([Buffer.from(head), body])));
  for (let time = 0; time < 3; time += 1) {
    const target = Buffer.from(new SharedArrayBuffer(body.byteLength + 5));
    const answer = await ask(server, { target });
    expect(answer).toMatchObject({ status: 206, length: body.byteLength, headers: { 'content-range': 'bytes 0-1/2' } });
    expect(target.subarray(0, body.byteLength).equals(body)).toBe(true);
    expect(target.subarray(body.byteLength)).toEqual(Buffer.alloc(5));
  }
  expect(server.heads.map(({ connection }) => connection)).toEqual([0, 0, 0]);
  expect(server.heads[0]?.text).toBe('GET /k HTTP/1.1\r\nhost: here\r\n\r\n');
});

test('an answer that comes byte by byte is the same answer', async () => {
  const server = await serve((socket) => {
    socket.setNoDelay(true);
    const bytes = Buffer.from('HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc');
    const next = (at: number): void => {
      if (at < bytes.byteLength) socket.write(bytes.subarray(at, at + 1), () => setImmediate(next, at + 1));
    };
    next(0);
  });
  const target = Buffer.alloc(3);
  expect(await ask(server, { target })).toMatchObject({ status: 200, length: 3 });
  expect(target.toString()).toBe('abc');
});

test('a body is sent behind its head', async () => {
  let received = '';
  const server = await serve((socket, text) => {
    received += text;
    if (received.endsWith('last')) socket.write('HTTP/1.1 412 Precondition Failed\r\ncontent-length: 2\r\n\r\nno');
  });
  const body = Buffer.from(`first${'-'.repeat(1_000_000)}last`);
  const answer = await ask(server, { method: 'PUT', body });
  expect(answer).toMatchObject({ status: 412, length: 2 });
  expect(received).toBe(`PUT /k HTTP/1.1\r\nhost: here\r\n\r\n${body.toString()}`);
});

test.each([
  ['in chunks', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n'],
  ['of no known length', 'HTTP/1.1 200 OK\r\n\r\nabc'],
  ['longer than the target', `HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\n${'a'.repeat(17)}`],
  ['longer than it says', 'HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcd'],
  ['of another protocol', 'SSH-2.0-OpenSSH_9.6\r\n\r\n'],
  ['with a head that does not end', 'HTTP/1.1 200 OK\r\n'.padEnd(20_000, 'x')],
  ['that only begins', 'HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab'],
])('an answer %s is left to others, and so is its connection', async (_, text) => {
  const server = await serve((socket) => socket.write(text));
  expect(await ask(server)).toBeUndefined();
  expect(await ask(server)).toBeUndefined();
  expect(server.heads.map(({ connection }) => connection)).toEqual([0, 1]);
});

test('a connection that its server closes after the answer is not used again', async () => {
  const server = await serve((socket) => {
    socket.end('HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\na');
  });
  expect(await ask(server)).toMatchObject({ length: 1 });
  expect(await ask(server)).toMatchObject({ length: 1 });
  expect(server.heads.map(({ connection }) => connection)).toEqual([0, 1]);
});

test('a server that closes a kept connection, or is not there at all, is no error but no answer', async () => {
  const server = await serve((socket) => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'));
  expect(await ask(server)).toMatchObject({ length: 0 });
  server.sockets[0]?.destroy();
  // Whether the end of the connection or the request comes first, there is an answer on a new one at the second try at the latest.
  expect((await ask(server)) ?? (await ask(server))).toMatchObject({ length: 0 });
  const nobody = new DirectConnections(
    { protocol: 'http:', hostname: '127.0.0.1', port: 1 },
    { connectMs: 5_000, silenceMs: 500 },
  );
  expect(await ask({ ...server, connections: nobody })).toBeUndefined();
});

test('an abort rejects with its reason, and nothing is written into the target any more', async () => {
  const stop = new AbortController();
  const server = await serve((socket) => {
    socket.write('HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\nab', () => {
      stop.abort(new Error('enough'));
      socket.write('c'.repeat(14));
    });
  });
  const target = new Uint8Array(16);
  await expect(ask(server, { target, signal: stop.signal })).rejects.toThrow('enough');
  const [socket] = server.sockets;
  if (socket?.closed === false) await once(socket, 'close');
  expect(Buffer.from(target).toString().includes('c')).toBe(false);
  await expect(ask(server, { signal: stop.signal })).rejects.toThrow('enough');
});

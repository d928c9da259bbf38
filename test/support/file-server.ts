/** A real HTTP server for one file, or for a folder's, that behaves as badly as it is told to. */
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';

export interface Behaviour {
  body: Buffer;
  /** By path below the server's address; every other path is `body`. */
  files: ReadonlyMap<string, Buffer>;
  etag?: string | undefined;
  lastModified?: string | undefined;
  /** False: every answer is the whole file. */
  ranges: boolean;
  /** Bytes of the body of request `index` (from 0) after which the line is cut; undefined lets it through. */
  cutAfter: (index: number) => number | undefined;
  /** True: instead of a cut the line falls silent. */
  stall: boolean;
  /** Answers before anything else; one per request, as long as there are any. */
  answers: { readonly status: number; readonly headers?: Readonly<Record<string, string>> }[];
  /** Awaited between the head and the body of each answer. */
  beforeBody: (index: number) => Promise<void>;
  /** Called at each request, to change the behaviour midway. */
  onRequest: (index: number) => void;
}

export interface SeenRequest {
  readonly range: string | undefined;
  readonly ifRange: string | undefined;
  readonly ifNoneMatch: string | undefined;
}

export interface FileServer {
  readonly url: string;
  readonly behaviour: Behaviour;
  readonly requests: SeenRequest[];
  readonly bytesSent: () => number;
  /** Most requests that were open at once. */
  readonly mostOpen: () => number;
}

/** Listens on a free port of this machine until the test has finished. */
export async function fileServer(body: Buffer, given: Partial<Behaviour> = {}): Promise<FileServer> {
  const behaviour: Behaviour = {
    body,
    files: new Map(),
    ranges: true,
    cutAfter: () => undefined,
    stall: false,
    answers: [],
    beforeBody: () => Promise.resolve(),
    onRequest: () => undefined,
    ...given,
  };
  const requests: SeenRequest[] = [];
  const count = { sent: 0, open: 0, most: 0 };
  const server = createServer((request, response) => {
    const index = requests.length;
    const { range, 'if-range': ifRange, 'if-none-match': ifNoneMatch } = request.headers;
    requests.push({ range, ifRange: ifRange?.toString(), ifNoneMatch });
    count.most = Math.max(count.most, ++count.open);
    response.on('close', () => (count.open -= 1));
    behaviour.onRequest(index);
    void answer(request, response, behaviour, index, (bytes) => (count.sent += bytes));
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/file.bin`;
  return { url, behaviour, requests, bytesSent: () => count.sent, mostOpen: () => count.most };
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  behaviour: Behaviour,
  index: number,
  sent: (bytes: number) => void,
): Promise<void> {
  const { etag, lastModified } = behaviour;
  const body = behaviour.files.get((request.url ?? '').slice(1)) ?? behaviour.body;
  const special = behaviour.answers.shift();
  if (special !== undefined) {
    response.writeHead(special.status, special.headers).end('not now');
    return;
  }
  if (etag !== undefined) response.setHeader('etag', etag);
  if (lastModified !== undefined) response.setHeader('last-modified', lastModified);
  if (etag !== undefined && request.headers['if-none-match'] === etag) {
    response.writeHead(304).end();
    return;
  }
  if (request.method === 'HEAD') {
    response.setHeader('content-length', body.byteLength);
    response.end();
    return;
  }
  const [start, end] = rangeOf(request, body);
  const isPartial = behaviour.ranges && request.headers.range !== undefined && isUnchanged(request, behaviour);
  if (isPartial && start >= body.byteLength) {
    response.writeHead(416, { 'content-range': `bytes */${body.byteLength}` }).end();
    return;
  }
  const bytes = isPartial ? body.subarray(start, end) : body;
  response.setHeader('content-length', bytes.byteLength);
  if (isPartial)
    response.setHeader('content-range', `bytes ${start}-${start + bytes.byteLength - 1}/${body.byteLength}`);
  response.writeHead(isPartial ? 206 : 200);
  response.flushHeaders();
  const closed = new Promise<void>((done) => response.once('close', done));
  await behaviour.beforeBody(index);
  const cut = behaviour.cutAfter(index);
  for (let done = 0; done < bytes.byteLength && !response.destroyed;) {
    const chunk = bytes.subarray(done, Math.min(done + 65_536, cut ?? Infinity));
    const flushed = new Promise<void>((done) => {
      response.write(chunk, () => {
        done();
      });
    });
    await Promise.race([flushed, closed]);
    done += chunk.byteLength;
    sent(chunk.byteLength);
    if (done !== cut) continue;
    if (!behaviour.stall) response.destroy();
    return;
  }
  response.end();
}

function rangeOf(request: IncomingMessage, body: Buffer): [number, number] {
  const match = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
  if (match === null) return [0, body.byteLength];
  return [Number(match[1]), match[2] === '' ? body.byteLength : Number(match[2]) + 1];
}

function isUnchanged(request: IncomingMessage, { etag, lastModified }: Behaviour): boolean {
  const validator = request.headers['if-range'];
  return validator === undefined || validator === etag || validator === lastModified;
}

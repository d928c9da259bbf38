/**
 * HTTP/1.1 for the one case that matters in a transfer: a request whose answer is a body of known length, which the kernel writes straight
 * into memory that the caller has. Through the streams of `node:http` each 64 KiB costs an allocation, a copy and its events. Every
 * other answer, and every failure, is nobody's here: the caller asks again by a full HTTP client, which knows what to make of it.
 */
import { connect as connectTcp, isIP } from 'node:net';
import type { Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

export interface Origin {
  readonly protocol: string;
  readonly hostname: string;
  readonly port?: number;
}

export interface DirectRequest {
  readonly method: 'GET' | 'PUT';
  /** Escaped. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | undefined;
  /** Where the answer's body goes. */
  readonly target: Uint8Array;
  readonly signal: AbortSignal | undefined;
}

export interface DirectAnswer {
  readonly status: number;
  /** By their names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** So many bytes lie in the target. */
  readonly length: number;
}

export interface DirectLimits {
  readonly connectMs: number;
  /** Without a byte in either direction. */
  readonly silenceMs: number;
}

const headBytes = 16 * 1024;
const headEnd = '\r\n\r\n';

/** Connections to one server, kept between requests. */
export class DirectConnections {
  readonly #idle: Connection[] = [];
  readonly #origin: Origin;
  readonly #limits: DirectLimits;

  constructor(origin: Origin, limits: DirectLimits) {
    this.#origin = origin;
    this.#limits = limits;
  }

  /** Undefined if the answer is not a whole body of known length that fits the target, or none came. An abort rejects with its reason. */
  async ask(request: DirectRequest): Promise<DirectAnswer | undefined> {
    const { signal } = request;
    signal?.throwIfAborted();
    const connection = this.#idle.pop() ?? new Connection(this.#origin, this.#limits);
    const stop = (): void => {
      connection.end();
    };
    signal?.addEventListener('abort', stop);
    const answer = await connection.ask(request);
    signal?.removeEventListener('abort', stop);
    signal?.throwIfAborted();
    if (connection.isReusable) {
      this.#idle.push(connection);
      connection.rest(() => {
        const index = this.#idle.indexOf(connection);
        if (index >= 0) this.#idle.splice(index, 1);
      });
    }
    return answer;
  }
}

interface Exchange {
  readonly target: Uint8Array;
  head: string;
  answer: DirectAnswer | undefined;
  filled: number;
  readonly resolve: (answer: DirectAnswer | undefined) => void;
}

class Connection {
  readonly #socket: Socket;
  readonly #headBuffer = Buffer.allocUnsafeSlow(headBytes);
  #exchange: Exchange | undefined;
  #onEnd: (() => void) | undefined;

  constructor({ protocol, hostname, port }: Origin, { connectMs, silenceMs }: DirectLimits) {
    const isTls = protocol === 'https:';
    // An address of IPv6 stands in brackets there.
    const host = hostname.replace(/^\[(.*)\]$/, '$1');
    const options = {
      host,
      port: port ?? (isTls ? 443 : 80),
      noDelay: true,
      onread: {
        buffer: () => this.#nextBuffer(),
        callback: (length: number, bytes: Uint8Array): boolean => {
          this.#take(bytes.subarray(0, length));
          return true;
        },
      },
    };
    const name = isIP(host) === 0 ? { servername: host } : {};
    this.#socket = isTls ? connectTls({ ...options, ...name, ALPNProtocols: ['http/1.1'] }) : connectTcp(options);
    this.#socket.setTimeout(connectMs);
    this.#socket.once(isTls ? 'secureConnect' : 'connect', () => this.#socket.setTimeout(silenceMs));
    for (const event of ['timeout', 'error', 'end', 'close']) this.#socket.on(event, () => this.end());
  }

  /** Nothing of the last request is still on its way. */
  get isReusable(): boolean {
    return !this.#socket.destroyed && this.#socket.writableLength === 0;
  }

  async ask({ method, path, headers, body, target }: DirectRequest): Promise<DirectAnswer | undefined> {
    this.#onEnd = undefined;
    this.#socket.ref();
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
    return new Promise((resolve) => {
      this.#exchange = { target, head: '', answer: undefined, filled: 0, resolve };
      // An idle connection may have ended since.
      if (this.#socket.destroyed) {
        this.end();
        return;
      }
      this.#socket.cork();
      this.#socket.write([`${method} ${path} HTTP/1.1`, ...lines, '', ''].join('\r\n'), 'latin1');
      if (body !== undefined) this.#socket.write(body);
      this.#socket.uncork();
    });
  }

  /** Kept for the next request, it keeps no process alive. `onEnd`: the server has closed it, or said something that nobody asked for. */
  rest(onEnd: () => void): void {
    this.#socket.unref();
    this.#onEnd = onEnd;
  }

  end(): void {
    this.#socket.destroy();
    this.#exchange?.resolve(undefined);
    this.#exchange = undefined;
    this.#onEnd?.();
  }

  /** For the body its own place in the target, so that nothing is copied. */
  #nextBuffer(): Uint8Array {
    const { answer, target, filled } = this.#exchange ?? {};
    return answer === undefined || target === undefined ? this.#headBuffer : target.subarray(filled, answer.length);
  }

  #take(bytes: Uint8Array): void {
    const exchange = this.#exchange;
    if (exchange === undefined) {
      this.end();
      return;
    }
    if (exchange.answer === undefined) {
      const before = exchange.head.length;
      exchange.head += Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
      const end = exchange.head.indexOf(headEnd);
      if (end < 0 && exchange.head.length < headBytes) return;
      exchange.answer = end < 0 ? undefined : answerOf(exchange.head.slice(0, end), exchange.target.byteLength);
      const body = bytes.subarray(end + headEnd.length - before);
      if (exchange.answer === undefined || body.byteLength > exchange.answer.length) {
        this.end();
        return;
      }
      exchange.target.set(body);
      exchange.filled = body.byteLength;
    } else {
      exchange.filled += bytes.byteLength;
    }
    if (exchange.filled < exchange.answer.length) return;
    this.#exchange = undefined;
    if (exchange.answer.headers['connection']?.toLowerCase() === 'close') this.#socket.destroy();
    exchange.resolve(exchange.answer);
  }
}

function answerOf(head: string, mostBytes: number): DirectAnswer | undefined {
  const [first = '', ...lines] = head.split('\r\n');
  const status = /^HTTP\/1\.1 ([2-5]\d\d) /.exec(first)?.[1];
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(':');
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  const length = /^\d+$/.exec(headers['content-length'] ?? '') === null ? Infinity : Number(headers['content-length']);
  if (status === undefined || status === '204' || 'transfer-encoding' in headers || length > mostBytes)
    return undefined;
  return { status: Number(status), headers, length };
}

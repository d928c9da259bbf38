/**
 * The two requests that a transfer makes by the thousand, a GET of bytes and a conditional PUT, past the SDK's middleware: that takes five
 * times the processor time of the request itself, on the one thread that heartbeats share. The SDK still says where requests go and
 * signs them, and makes again each one whose answer is not plainly what was asked for: it knows errors, clocks, redirects and retries.
 */
import type { S3Client } from '@aws-sdk/client-s3';
import { DirectConnections } from './direct-http.js';
import type { DirectAnswer, DirectLimits, Origin } from './direct-http.js';

export interface DirectGet {
  readonly from: number;
  /** The range is as long as this; where the object ends before, so do the bytes. */
  readonly target: Uint8Array;
  readonly signal: AbortSignal | undefined;
}

export interface DirectPut {
  readonly body: Uint8Array;
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal | undefined;
}

interface Place {
  readonly origin: Origin;
  readonly host: string;
  /** Of all objects of the bucket. */
  readonly path: string;
  readonly connections: DirectConnections;
  readonly signer: Awaited<ReturnType<S3Client['config']['signer']>>;
}

type Handler = (args: object) => Promise<object>;

interface WithMiddleware {
  readonly middlewareStack: {
    add(middleware: (next: Handler) => Handler, options: { readonly step: 'deserialize' }): void;
  };
}

interface SdkRequest extends Origin {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** An answer to a PUT is empty, or says in some words why not. */
const wordsBytes = 4096;

export class DirectS3 {
  readonly #client: S3Client;
  readonly #limits: DirectLimits;
  #place: Place | undefined;

  constructor(client: S3Client, limits: DirectLimits) {
    this.#client = client;
    this.#limits = limits;
  }

  /** Lets the SDK's request for an object show where the objects of its bucket are; before the first one nothing is asked directly. */
  learnFrom<Command>(command: Command, key: string): Command {
    if (this.#place !== undefined) return command;
    (command as WithMiddleware).middlewareStack.add(
      (next) => async (args) => {
        const { request } = args as { request: SdkRequest };
        this.#place ??= await this.#placeOf(request, key);
        return next(args);
      },
      { step: 'deserialize' },
    );
    return command;
  }

  /** Undefined: ask by the SDK. The status is 200 or 206. */
  async get(key: string, { from, target, signal }: DirectGet): Promise<DirectAnswer | undefined> {
    const range = `bytes=${from}-${from + target.byteLength - 1}`;
    const headers = { range, 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' };
    const answer = await this.#ask('GET', key, headers, { body: undefined, target, signal });
    return answer?.status === 200 || answer?.status === 206 ? answer : undefined;
  }

  /** Undefined: ask by the SDK. Else 200, or 412 if the condition does not hold. */
  async put(key: string, { body, headers, signal }: DirectPut): Promise<200 | 412 | undefined> {
    const target = Buffer.allocUnsafe(wordsBytes);
    const all = { ...headers, 'content-length': String(body.byteLength), 'content-type': 'application/octet-stream' };
    const answer = await this.#ask('PUT', key, all, { body, target, signal });
    return answer?.status === 200 || answer?.status === 412 ? answer.status : undefined;
  }

  async #ask(
    method: 'GET' | 'PUT',
    key: string,
    headers: Readonly<Record<string, string>>,
    more: {
      readonly body: Uint8Array | undefined;
      readonly target: Uint8Array;
      readonly signal: AbortSignal | undefined;
    },
  ): Promise<DirectAnswer | undefined> {
    if (this.#place === undefined) return undefined;
    const { origin, host, path, connections, signer } = this.#place;
    const request = { ...origin, method, path: `${path}${escapeKey(key)}`, query: {}, headers: { host, ...headers } };
    const signed = await signer.sign(request, {
      signingDate: new Date(Date.now() + this.#client.config.systemClockOffset),
    });
    return connections.ask({ ...more, method, path: request.path, headers: signed.headers });
  }

  async #placeOf(request: SdkRequest, key: string): Promise<Place | undefined> {
    const { protocol, hostname, port, path } = request;
    const host = request.headers['host'];
    if (host === undefined || !path.endsWith(escapeKey(key))) return undefined;
    const origin = { protocol, hostname, ...(port === undefined ? {} : { port }) };
    return {
      origin,
      host,
      path: path.slice(0, -escapeKey(key).length),
      connections: new DirectConnections(origin, this.#limits),
      signer: await this.#client.config.signer(),
    };
  }
}

/** As S3 signs it. */
function escapeKey(key: string): string {
  const escape = (character: string): string => `%${character.charCodeAt(0).toString(16).toUpperCase()}`;
  return key
    .split('/')
    .map((segment) => encodeURIComponent(segment).replace(/[!'()*]/g, escape))
    .join('/');
}

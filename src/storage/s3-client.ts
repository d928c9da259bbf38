/** The S3 client of a store: connections that are kept, limits in time, credentials, and the few things that all requests share. */
import { S3Client } from '@aws-sdk/client-s3';
import { fromIni } from '@aws-sdk/credential-provider-ini';
import { BufferPool } from './buffer-pool.js';
import { inlineBytes } from './hashing.js';
import { DirectS3 } from './s3-direct.js';
import { s3Url } from './store-settings.js';
import type { S3Settings } from './store-settings.js';

/** Part of an upload and range of a download: large enough that a request costs little, small enough to be sent again. */
export const partBytes = 8 * 1024 * 1024;
/** Of all transfers of a store together. Six parts fill a line of 10 Gbit/s; more memory would be the training's. */
const bufferBytes = 6 * partBytes;
/** More than one transfer of small files uses; connections are kept between requests. */
const maxSockets = 64;
const connectionTimeoutMs = 5_000;
/** Without a byte in either direction. Assembling an upload of a hundred gigabytes is the longest silence of a living server. */
const socketTimeoutMs = 120_000;
/** A blip is met here; a longer outage is met by whoever called, with a wait between. */
const maxAttempts = 3;

/** What every file of the S3 store works with. */
export interface S3Place {
  readonly client: S3Client;
  readonly bucket: string;
  /** Empty, or ends with a slash. */
  readonly prefix: string;
  readonly url: string;
  readonly pool: BufferPool;
  readonly direct: DirectS3;
  /** The server itself refuses the second writer of a name. */
  readonly isStrict: boolean;
}

export function targetOf({ bucket, prefix }: S3Place, key: string): { readonly Bucket: string; readonly Key: string } {
  return { Bucket: bucket, Key: `${prefix}${key}` };
}

/** Of every request that makes an object visible. */
export function conditionOf({ isStrict }: S3Place): { readonly IfNoneMatch?: '*' } {
  return isStrict ? { IfNoneMatch: '*' } : {};
}

export function openS3(settings: S3Settings): S3Place {
  const { endpoint, region, bucket, pathStyle, credentialsFile } = settings;
  const client = new S3Client({
    ...(endpoint === undefined ? {} : { endpoint, region: 'us-east-1' }),
    ...(region === undefined ? {} : { region }),
    ...(credentialsFile === undefined ? {} : { credentials: fromIni({ filepath: credentialsFile }) }),
    forcePathStyle: pathStyle,
    maxAttempts,
    // We give SHA-256 ourselves, made off the main thread, and check what comes.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // With it the SDK opens a connection of its own for each large request.
    expectContinueHeader: false,
    requestHandler: {
      connectionTimeout: connectionTimeoutMs,
      socketTimeout: socketTimeoutMs,
      httpAgent: { keepAlive: true, maxSockets },
      httpsAgent: { keepAlive: true, maxSockets },
    },
  });
  const prefix = settings.prefix === '' || settings.prefix.endsWith('/') ? settings.prefix : `${settings.prefix}/`;
  return {
    client,
    bucket,
    prefix,
    url: s3Url(bucket, prefix),
    pool: new BufferPool({ limitBytes: bufferBytes, keptBytes: partBytes, smallBytes: inlineBytes }),
    direct: new DirectS3(client, { connectMs: connectionTimeoutMs, silenceMs: socketTimeoutMs }),
    isStrict: settings.fencing === 'strict',
  };
}

type Handler = (args: object) => Promise<object>;

interface WithMiddleware {
  readonly middlewareStack: {
    add(middleware: (next: Handler) => Handler, options: { readonly step: 'build' }): void;
  };
}

/** Signs a request for a body whose SHA-256 (hex) is known; the SDK would hash it on the main thread. */
export function signedFor<Command>(command: Command, sha256: string): Command {
  (command as WithMiddleware).middlewareStack.add(
    (next) => (args) => {
      const { request } = args as { request: { headers: Record<string, string> } };
      request.headers['x-amz-content-sha256'] = sha256;
      return next(args);
    },
    { step: 'build' },
  );
  return command;
}

/** How the SDK takes a signal. */
export function abortedBy(signal: AbortSignal | undefined): { readonly abortSignal?: AbortSignal } {
  return signal === undefined ? {} : { abortSignal: signal };
}

/** As S3 writes checksums. */
export function base64OfHex(hex: string): string {
  return Buffer.from(hex, 'hex').toString('base64');
}

/** What is known of files that earlier calls downloaded, so that a whole and unchanged one is not fetched again. */
import { lstat, readFile } from 'node:fs/promises';
import { z } from 'zod';
import { orUndefined, replaceFile } from './disk.js';
import type { FileDigest } from './hash-pool.js';
import { sha256File } from './hashing.js';
import type { HttpFile } from './http-file.js';
import { openHttp } from './http-response.js';
import type { HttpFileOptions, HttpSource } from './http-transfer.js';
import { withRetries } from './retry.js';

const RecordShape = z.strictObject({
  url: z.string(),
  validator: z.strictObject({ etag: z.string().optional(), lastModified: z.string().optional() }),
  sizeBytes: z.number(),
  sha256: z.string(),
  mtimeNs: z.string(),
});
type DoneRecord = z.infer<typeof RecordShape>;

export interface DownloadTask extends HttpSource {
  /** The file as it will be. */
  readonly target: string;
  /** Path without ending of its part, its notes and its record. */
  readonly base: string;
}

/** Written before the file gets its name: a file without a record would be fetched again. */
export async function recordFile(task: DownloadTask, part: string, file: HttpFile): Promise<void> {
  const { mtimeNs } = await lstat(part, { bigint: true });
  const record: DoneRecord = { url: task.url, ...file, mtimeNs: mtimeNs.toString() };
  await replaceFile(recordPath(task), JSON.stringify(record));
}

/** The file of an earlier call, if it is still what the source has: by its expected digest, else by asking the server. */
export async function existingFile(task: DownloadTask, options: HttpFileOptions): Promise<FileDigest | undefined> {
  const stats = await orUndefined(lstat(task.target, { bigint: true }));
  if (stats?.isFile() !== true) return undefined;
  if (task.sha256 !== undefined) {
    const found = await sha256File(task.target, { signal: options.signal });
    return found.sha256 === task.sha256 && found.sizeBytes === (task.sizeBytes ?? found.sizeBytes) ? found : undefined;
  }
  const record = await readRecord(task);
  const isUntouched =
    record?.url === task.url && BigInt(record.sizeBytes) === stats.size && record.mtimeNs === stats.mtimeNs.toString();
  if (!isUntouched || record.sizeBytes !== (task.sizeBytes ?? record.sizeBytes)) return undefined;
  return (await isUnchanged(task, record, options))
    ? { sizeBytes: record.sizeBytes, sha256: record.sha256 }
    : undefined;
}

async function isUnchanged(task: DownloadTask, { validator }: DoneRecord, options: HttpFileOptions): Promise<boolean> {
  const { etag, lastModified } = validator;
  const headers: Record<string, string> = {};
  if (etag !== undefined) headers['if-none-match'] = etag;
  else if (lastModified !== undefined) headers['if-modified-since'] = lastModified;
  else return false;
  const ask = async (): Promise<boolean> => {
    const { signal, idleTimeoutMs } = options;
    const { response, discard } = await openHttp(new URL(task.url), { headers, signal, idleTimeoutMs });
    discard();
    return response.status === 304;
  };
  const { attempts, firstDelayMs, signal } = options;
  return withRetries(ask, { what: task.url, attempts, firstDelayMs, signal, bytesDone: () => 0 });
}

async function readRecord(task: DownloadTask): Promise<DoneRecord | undefined> {
  const text = await orUndefined(readFile(recordPath(task), 'utf8'));
  if (text === undefined) return undefined;
  try {
    return RecordShape.parse(JSON.parse(text));
  } catch {
    // An unreadable record only means that the file is fetched again.
    return undefined;
  }
}

function recordPath(task: DownloadTask): string {
  return `${task.base}.done.json`;
}

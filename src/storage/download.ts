/**
 * Brings sources (`file:`, `http:`, `https:`) into a folder. The folder only ever holds whole files; what is unfinished lies beside it in
 * `<folder>.download`, with notes that let the next call go on, also after a kill.
 */
import { open, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { existingFile, recordFile } from './download-record.js';
import type { DownloadTask } from './download-record.js';
import { ensureFolder, orUndefined, walkFiles } from './disk.js';
import { StoreError, storeErrorOf } from './errors.js';
import { sha256File, sha256Hex } from './hashing.js';
import { fetchHttpFile } from './http-file.js';
import type { HttpFileOptions } from './http-transfer.js';
import { checkPathSet, compareKeys } from './keys.js';
import type { SetFile } from './manifest.js';
import { runParallel } from './parallel.js';
import { setProgress } from './set-progress.js';
import type { ProgressSum, SetTransferOptions } from './set-progress.js';
import { receiveFile } from './transfer.js';

export interface Source {
  /** `http:`, `https:` or `file:`; a `file:` folder stands for all files below it. */
  readonly url: string;
  /** Where it goes below the target folder; for a `file:` folder its files go below this, and `''` is the target itself. */
  readonly path: string;
  readonly sha256?: string | undefined;
  readonly sizeBytes?: number | undefined;
}

export interface DownloadOptions extends SetTransferOptions {
  /** Files at once. Default 4. */
  readonly parallel?: number;
  /** Attempts in a row without a new byte before a file fails. Default 5, with waits from `firstDelayMs` (500) doubling. */
  readonly attempts?: number;
  readonly firstDelayMs?: number;
  /** A line that is silent for so long counts as broken. Default 60 s. */
  readonly idleTimeoutMs?: number;
  /** Files from this size on come in four ranges at once. Default 64 MiB. */
  readonly parallelFromBytes?: number;
}

export interface DownloadedFile extends SetFile {
  /** True if the file was there already and nothing was moved. */
  readonly reused: boolean;
}

type Task = Source & DownloadTask;

/**
 * Downloads all sources into `folder`; sorted by path. A file that is there with the expected digest, or that the server says has not
 * changed, is not fetched again. Errors: `KeyInvalid` (address or path), `NotFound`, `DigestMismatch`, `Unavailable` (later may help).
 */
export async function downloadSources(
  sources: readonly Source[],
  folder: string,
  options: DownloadOptions = {},
): Promise<readonly DownloadedFile[]> {
  const files = (await Promise.all(sources.map(expand))).flat();
  checkPathSet(files.map((file) => file.path));
  const target = resolve(folder);
  await ensureFolder(target);
  await ensureFolder(`${target}.download`);
  const progress = setProgress(files, options.onProgress);
  const indexed = files.map((source, index) => ({ source, index }));
  const done = await runParallel(indexed, options.parallel ?? 4, options.signal, async ({ source, index }, signal) => {
    // The name on disk is a digest: a path could be too long with an ending, or be another file's path with one.
    const base = join(`${target}.download`, sha256Hex(source.path).slice(0, 32));
    const task = { ...source, target: join(target, source.path), base };
    const file = await downloadOne(task, httpOptions(options, signal, progress, index));
    progress.done(index, file.sizeBytes);
    return file;
  });
  return done.sort((a, b) => compareKeys(a.path, b.path));
}

function httpOptions(
  options: DownloadOptions,
  signal: AbortSignal,
  progress: ProgressSum,
  index: number,
): HttpFileOptions {
  return {
    signal,
    onProgress: (bytesDone) => {
      progress.bytes(index, bytesDone);
    },
    onSize: (sizeBytes) => {
      progress.size(index, sizeBytes);
    },
    attempts: options.attempts ?? 5,
    firstDelayMs: options.firstDelayMs ?? 500,
    idleTimeoutMs: options.idleTimeoutMs ?? 60_000,
    parallelFromBytes: options.parallelFromBytes ?? 64 * 1024 * 1024,
    pieces: 4,
  };
}

async function expand(source: Source): Promise<readonly Source[]> {
  const url = urlOf(source.url);
  if (url.protocol !== 'file:') return [source];
  const path = fileURLToPath(url);
  const stats = await orUndefined(stat(path));
  if (stats === undefined)
    throw new StoreError('NotFound', `The source ${source.url} does not exist on this host; check the path.`);
  if (stats.isFile()) return [source];
  if (!stats.isDirectory())
    throw new StoreError('KeyInvalid', `The source ${source.url} is neither a file nor a folder.`);
  const base = url.href.endsWith('/') ? url.href : `${url.href}/`;
  const below = source.path === '' ? '' : `${source.path}/`;
  const paths = await walkFiles(path);
  return paths.map((file) => ({
    url: `${base}${file.split('/').map(encodeURIComponent).join('/')}`,
    path: `${below}${file}`,
  }));
}

function urlOf(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'http:' || url?.protocol === 'https:' || (url?.protocol === 'file:' && url.host === ''))
    return url;
  throw new StoreError(
    'KeyInvalid',
    `The source ${JSON.stringify(text)} is no address that can be fetched; use https://…, http://… or file:///….`,
  );
}

async function downloadOne(task: Task, options: HttpFileOptions): Promise<DownloadedFile> {
  const { path } = task;
  try {
    if (task.url.startsWith('file:')) return { path, ...(await copyFile(task, options)) };
    const existing = await existingFile(task, options);
    if (existing !== undefined) return { path, ...existing, reused: true };
    const { sizeBytes, sha256 } = await fetchHttpFile(task, task.target, task.base, options, (part, file) =>
      recordFile(task, part, file),
    );
    return { path, sizeBytes, sha256, reused: false };
  } catch (error) {
    options.signal?.throwIfAborted();
    throw storeErrorOf(error, `download ${task.url} to ${task.target}`);
  }
}

/** A local copy is verified against the source itself, so a part of it can be gone on with and a whole one is kept. */
async function copyFile(task: Task, { signal, onProgress }: HttpFileOptions): Promise<Omit<DownloadedFile, 'path'>> {
  const from = fileURLToPath(task.url);
  const digest = await sha256File(from, { signal });
  if (digest.sha256 !== (task.sha256 ?? digest.sha256) || digest.sizeBytes !== (task.sizeBytes ?? digest.sizeBytes)) {
    throw new StoreError(
      'DigestMismatch',
      `The source ${task.url} has the SHA-256 ${digest.sha256}, not the expected ${task.sha256 ?? 'size'}.`,
    );
  }
  let moved = false;
  const openAt = async (start: number): Promise<Readable> => {
    moved = true;
    return (await open(from, 'r')).createReadStream({ start });
  };
  await receiveFile(
    { what: `file ${from}`, path: task.target, part: `${task.base}.part`, openAt },
    {
      ...digest,
      signal,
      onProgress: ({ bytesDone }) => {
        onProgress(bytesDone);
      },
    },
  );
  return { ...digest, reused: !moved };
}

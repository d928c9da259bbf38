/** The files of a set, each to its place: from this host where it has them already, else from the store. Every one is verified. */
import { link, lstat, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ensureFolder, orUndefined } from './disk.js';
import { sha256File } from './hashing.js';
import type { FileSetRef, SetFile } from './manifest.js';
import type { ObjectStore } from './object-store.js';
import { runParallel } from './parallel.js';
import { setProgress, type SetTransferOptions } from './set-progress.js';

export interface BringOptions extends SetTransferOptions {
  /**
   * Folders of this host, on the same disk, that may hold files of the set under the same paths. They are believed as little as the
   * store: what is not right there is downloaded. Nobody may write to their files any more, since a file that is right is linked.
   */
  readonly near?: readonly string[] | undefined;
}

/** Where the files of a copy came from; what an earlier attempt had brought counts as local. */
export interface Origins {
  readonly localFiles: number;
  readonly localBytes: number;
  readonly downloadedFiles: number;
  readonly downloadedBytes: number;
}

const NONE: Origins = { localFiles: 0, localBytes: 0, downloadedFiles: 0, downloadedBytes: 0 };

/** Of files that were all here. */
export function allLocal(files: readonly SetFile[]): Origins {
  return {
    ...NONE,
    localFiles: files.length,
    localBytes: files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
  };
}

export async function bringFiles(
  store: ObjectStore,
  ref: FileSetRef,
  files: readonly SetFile[],
  folder: string,
  { near = [], signal, onProgress }: BringOptions,
): Promise<Origins> {
  const progress = setProgress(files, onProgress);
  const bring = async (
    { file, index }: { readonly file: SetFile; readonly index: number },
    stop: AbortSignal,
  ): Promise<Origins> => {
    const { path, sizeBytes, sha256 } = file;
    const target = join(folder, path);
    const places = near.map((one) => join(one, path));
    const isNear = await takeNear(target, places, file, stop);
    if (!isNear)
      await store.getFile(`${ref.prefix}${path}`, target, {
        ...{ sizeBytes, sha256, signal: stop },
        onProgress: ({ bytesDone }) => {
          progress.bytes(index, bytesDone);
        },
      });
    progress.done(index);
    return isNear ? allLocal([file]) : { ...NONE, downloadedFiles: 1, downloadedBytes: sizeBytes };
  };
  const indexed = files.map((file, index) => ({ file, index }));
  // A file that is really called `x.part` has the name under which `x` arrives: such files come one by one when `x` is there.
  const isPart = ({ file }: (typeof indexed)[number]): boolean => file.path.endsWith('.part');
  const whole = indexed.filter((item) => !isPart(item));
  const origins = [
    ...(await runParallel(whole, store.parallelFiles, signal, bring)),
    ...(await runParallel(indexed.filter(isPart), 1, signal, bring)),
  ];
  return origins.reduce(addOrigins, NONE);
}

function addOrigins(a: Origins, b: Origins): Origins {
  return {
    localFiles: a.localFiles + b.localFiles,
    localBytes: a.localBytes + b.localBytes,
    downloadedFiles: a.downloadedFiles + b.downloadedFiles,
    downloadedBytes: a.downloadedBytes + b.downloadedBytes,
  };
}

/**
 * True when `target` now is the wanted file: it was brought by an earlier attempt, or linked from one of `places`. The hash is that of
 * the target, so that what was hashed is what is used; whatever goes wrong with a file of this host only means that it is downloaded.
 */
async function takeNear(
  target: string,
  places: readonly string[],
  file: SetFile,
  signal: AbortSignal,
): Promise<boolean> {
  if (await isRight(target, file, signal)) return true;
  for (const place of places) {
    if (!(await hasSize(place, file))) continue;
    await ensureFolder(dirname(target));
    await rm(target, { force: true });
    const isLinked = await link(place, target).then(
      () => true,
      () => false,
    );
    if (isLinked && (await isRight(target, file, signal))) return true;
    await rm(target, { force: true });
  }
  return false;
}

async function isRight(path: string, file: SetFile, signal: AbortSignal): Promise<boolean> {
  if (!(await hasSize(path, file))) return false;
  try {
    return (await sha256File(path, { signal })).sha256 === file.sha256;
  } catch {
    // A bad sector is a file that is not right; an abort is an abort.
    signal.throwIfAborted();
    return false;
  }
}

/** A link is no file here: what it names could be written to by anybody. */
async function hasSize(path: string, { sizeBytes }: SetFile): Promise<boolean> {
  const stats = await orUndefined(lstat(path));
  return stats?.isFile() === true && stats.size === sizeBytes;
}

/** Local copies of file sets: built beside their place, verified, then renamed; checked cheaply each time they are used again. */
import { lstat, readFile, rename, rm, rmdir } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { allLocal, bringFiles, type BringOptions, type Origins } from './bring-files.js';
import { ensureFolder, orUndefined, replaceFile, syncFolder, walkFiles } from './disk.js';
import { StoreError, isErrno, storeErrorOf } from './errors.js';
import { digestOf, sha256File } from './hashing.js';
import { ManifestShape, parallelFiles, readManifest } from './manifest.js';
import type { FileSet, FileSetRef, SetFile } from './manifest.js';
import type { ObjectStore } from './object-store.js';
import { runParallel } from './parallel.js';

export interface MaterializeOptions extends BringOptions {
  /** Only these paths of the set (default all). A path that the set does not have is an error. */
  readonly only?: readonly string[] | undefined;
  /** `quick` (default) compares size and time of change with those noted when the copy was made, `full` hashes every file. */
  readonly verify?: 'quick' | 'full' | undefined;
}

export interface LocalCopy {
  readonly folder: string;
  readonly files: readonly SetFile[];
  /** True if the copy that was there is good and nothing was moved. */
  readonly reused: boolean;
  readonly origins: Origins;
}

/** What lies in a copy: its whole manifest, so that it can be proven without the store, and the files that were brought. */
const StampShape = z.strictObject({
  format: z.literal(1),
  manifest: ManifestShape,
  /** Path to the time of change, in nanoseconds. */
  brought: z.record(z.string(), z.string()),
});

interface Stamp {
  readonly digest: string;
  readonly manifest: FileSet;
  readonly brought: Readonly<Record<string, string>>;
}

/** One writer per folder. Agents share no folder (design §3), so a lock of this process is enough: it holds back a late attempt's twin. */
const busy = new Map<string, Promise<unknown>>();

/**
 * Brings a file set (or some of it) to `folder`: built in `<folder>.partial`, every file verified, noted in `<folder>.stamp.json`, then
 * renamed. A kill leaves the partial copy, and the next call goes on with it. A copy that is damaged or lacks files is mended in the
 * same way, so nobody may read it meanwhile: selections that are read at once need folders of their own.
 * Errors: `Conflict` if the folder holds something that is no copy of ours, those of the manifest and of `getFile`.
 */
export async function materialize(
  store: ObjectStore,
  ref: FileSetRef,
  folder: string,
  options: MaterializeOptions = {},
): Promise<LocalCopy> {
  const path = resolve(folder);
  const before = busy.get(path) ?? Promise.resolve();
  const mine = before.catch(() => undefined).then(() => bring(store, ref, path, options));
  busy.set(path, mine);
  try {
    return await mine;
  } catch (error) {
    options.signal?.throwIfAborted();
    throw storeErrorOf(error, `bring ${ref.manifestKey} to ${path}`);
  } finally {
    if (busy.get(path) === mine) busy.delete(path);
  }
}

async function bring(
  store: ObjectStore,
  ref: FileSetRef,
  folder: string,
  options: MaterializeOptions,
): Promise<LocalCopy> {
  options.signal?.throwIfAborted();
  const stamp = await readStamp(folder);
  const known = stamp?.digest === ref.digest ? stamp : undefined;
  const manifest = known?.manifest ?? (await readManifest(store, ref));
  const files = select(manifest.files, options.only, ref);
  if (known !== undefined && (await isGood(folder, files, known, options)))
    return { folder, files, reused: true, origins: allLocal(files) };

  const partial = partialOf(folder);
  await takeOver(folder, partial, stamp !== undefined);
  // What a mended copy has beyond this selection stays: another stage may have asked for it.
  const kept = known?.brought ?? {};
  const keep = [...files.map((file) => file.path), ...Object.keys(kept)];
  await removeOthers(partial, new Set(keep.flatMap((path) => [path, `${path}.part`])));
  const origins = await bringFiles(store, ref, files, partial, options);
  const brought = { ...kept, ...(await timesOf(partial, files)) };
  await replaceFile(stampPath(folder), JSON.stringify({ format: 1, manifest, brought }));
  await rename(partial, folder);
  await syncFolder(dirname(folder));
  return { folder, files, reused: false, origins };
}

/** Where a copy is built. */
export function partialOf(folder: string): string {
  return `${folder}.partial`;
}

/** Makes `partial` the folder to work in: a copy of ours that failed its check becomes it, unless an unfinished one is there already. */
async function takeOver(folder: string, partial: string, isOurs: boolean): Promise<void> {
  const existing = await orUndefined(lstat(folder));
  if (existing === undefined) return ensureFolder(partial);
  if (!isOurs) {
    await rmdir(folder).catch((error: unknown) => {
      if (!isErrno(error, 'ENOTEMPTY', 'EEXIST', 'ENOTDIR')) throw error;
      throw new StoreError(
        'Conflict',
        `The folder ${folder} holds files that are not a copy made by Anneal; move them away or choose another folder.`,
      );
    });
    return ensureFolder(partial);
  }
  if ((await orUndefined(lstat(partial))) === undefined) await rename(folder, partial);
  else await rm(folder, { recursive: true });
}

async function removeOthers(folder: string, keep: ReadonlySet<string>): Promise<void> {
  for (const path of await walkFiles(folder)) {
    if (!keep.has(path)) await rm(join(folder, path));
  }
}

async function timesOf(folder: string, files: readonly SetFile[]): Promise<Readonly<Record<string, string>>> {
  const times = await runParallel(files, parallelFiles, undefined, async ({ path }) => {
    const { mtimeNs } = await lstat(join(folder, path), { bigint: true });
    return [path, mtimeNs.toString()] as const;
  });
  return Object.fromEntries(times);
}

async function isGood(
  folder: string,
  files: readonly SetFile[],
  stamp: Stamp,
  options: MaterializeOptions,
): Promise<boolean> {
  const checks = await runParallel(files, parallelFiles, options.signal, async (file, signal) => {
    const path = join(folder, file.path);
    const stats = await orUndefined(lstat(path, { bigint: true }));
    if (stats?.isFile() !== true || stats.size !== BigInt(file.sizeBytes)) return false;
    if (stamp.brought[file.path] !== stats.mtimeNs.toString()) return false;
    return options.verify !== 'full' || (await sha256File(path, { signal })).sha256 === file.sha256;
  });
  return checks.every(Boolean);
}

function select(files: readonly SetFile[], only: readonly string[] | undefined, ref: FileSetRef): readonly SetFile[] {
  if (only === undefined) return files;
  const wanted = new Set(only);
  const selected = files.filter((file) => wanted.delete(file.path));
  const [missing] = wanted;
  if (missing === undefined) return selected;
  throw new StoreError('NotFound', `The file set ${ref.manifestKey} has no file ${JSON.stringify(missing)}.`);
}

async function readStamp(folder: string): Promise<Stamp | undefined> {
  const text = await orUndefined(readFile(stampPath(folder), 'utf8'));
  if (text === undefined) return undefined;
  try {
    const { manifest, brought } = StampShape.parse(JSON.parse(text));
    return { digest: digestOf(manifest), manifest, brought };
  } catch {
    // A damaged stamp is as good as none, but the folder is ours all the same.
    return { digest: '', manifest: { format: 1, files: [], totalBytes: 0 }, brought: {} };
  }
}

function stampPath(folder: string): string {
  return `${folder}.stamp.json`;
}

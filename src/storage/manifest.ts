/**
 * A file set: files under one prefix of the store, named by a manifest that is written last. A reader believes nothing that the manifest
 * does not name, and the manifest itself only by its digest. An artifact is a file set whose place is its digest.
 */
import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { walkFiles } from './disk.js';
import { StoreError } from './errors.js';
import { canonicalJson, digestOf, sha256File, sha256Hex } from './hashing.js';
import { checkPathSet, compareKeys } from './keys.js';
import type { ObjectStore } from './object-store.js';
import { runParallel } from './parallel.js';
import { setProgress } from './set-progress.js';
import type { SetTransferOptions } from './set-progress.js';

/** Files of this machine that are read at once: enough to fill a disk, few enough to bound the memory at a few megabytes each. */
export const parallelFiles = 4;

const sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 lower-case hex digits');
const sizeBytes = z.int().nonnegative();
const FileShape = z.strictObject({ path: z.string(), sizeBytes, sha256 });
export const ManifestShape = z.strictObject({ format: z.literal(1), files: z.array(FileShape), totalBytes: sizeBytes });

export interface SetFile {
  /** Relative to the set's prefix, with slashes. */
  readonly path: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

export interface FileSet {
  readonly format: 1;
  /** In UTF-8 byte order of their paths. */
  readonly files: readonly SetFile[];
  readonly totalBytes: number;
}

/** Names a file set; plain data, small enough for a workflow's history. `digest` is the SHA-256 of the manifest's bytes. */
export interface FileSetRef {
  /** Ends with a slash. */
  readonly prefix: string;
  readonly manifestKey: string;
  readonly digest: string;
}

/** A manifest of these files, sorted and checked; throws `KeyInvalid` for paths that cannot lie in one folder. */
export function fileSetOf(files: readonly SetFile[]): FileSet {
  const sorted = [...files].sort((a, b) => compareKeys(a.path, b.path));
  checkPathSet(sorted.map((file) => file.path));
  return { format: 1, files: sorted, totalBytes: sorted.reduce((sum, file) => sum + file.sizeBytes, 0) };
}

export function artifactRefOf(manifest: FileSet): FileSetRef {
  const digest = digestOf(manifest);
  return { prefix: `artifacts/${digest}/`, manifestKey: `artifacts/${digest}.json`, digest };
}

export interface PublishOptions extends SetTransferOptions {
  /** Files of the folder, relative to it; left out, all. */
  readonly only?: readonly string[] | undefined;
}

/** Reads and hashes every file below a folder. Errors: `KeyInvalid` for a link or a name that no store accepts. */
export async function scanFolder(folder: string, options: PublishOptions = {}): Promise<FileSet> {
  const paths = options.only ?? (await walkFiles(folder));
  checkPathSet(paths);
  const sizes = await runParallel(
    paths,
    parallelFiles,
    options.signal,
    async (path) => (await lstat(join(folder, path))).size,
  );
  const progress = setProgress(
    sizes.map((size) => ({ sizeBytes: size })),
    options.onProgress,
  );
  const indexed = paths.map((path, index) => ({ path, index }));
  const files = await runParallel(indexed, parallelFiles, options.signal, async ({ path, index }, signal) => {
    const digest = await sha256File(join(folder, path), {
      signal,
      onProgress: (bytesDone) => {
        progress.bytes(index, bytesDone);
      },
    });
    progress.done(index);
    return { path, ...digest };
  });
  return fileSetOf(files);
}

/** The manifest of a set. Errors: `NotFound`, and `DigestMismatch` for bytes that are not the ones the reference promises. */
export async function readManifest(store: ObjectStore, ref: FileSetRef): Promise<FileSet> {
  const where = `manifest ${ref.manifestKey} in ${store.url}`;
  const bytes = await store.read(ref.manifestKey);
  if (bytes === undefined) throw new StoreError('NotFound', `There is no ${where}.`);
  const found = sha256Hex(bytes);
  if (found !== ref.digest)
    throw new StoreError(
      'DigestMismatch',
      `The ${where} has the SHA-256 ${found} instead of ${ref.digest}; it is not used.`,
    );
  return parseManifest(bytes.toString('utf8'), where);
}

/** A manifest from its text, strictly: shape, order, sums and paths. Error: `DigestMismatch`. `where` names it in messages. */
export function parseManifest(text: string, where: string): FileSet {
  try {
    const manifest: FileSet = ManifestShape.parse(JSON.parse(text));
    if (canonicalJson(fileSetOf(manifest.files)) === canonicalJson(manifest)) return manifest;
    throw new Error('its files are not in order or its sum is wrong');
  } catch (error) {
    const why =
      error instanceof z.ZodError ? z.prettifyError(error) : error instanceof Error ? error.message : String(error);
    throw new StoreError('DigestMismatch', `The ${where} is not a manifest of a file set: ${why}`, error);
  }
}

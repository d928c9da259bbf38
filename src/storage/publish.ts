/** How a folder becomes a file set of the store: the files in parallel, the manifest last. */
import { join } from 'node:path';
import { StoreError, isStoreError } from './errors.js';
import { canonicalJson, sha256Hex } from './hashing.js';
import { artifactRefOf, fileSetOf, scanFolder } from './manifest.js';
import type { FileSet, FileSetRef, PublishOptions } from './manifest.js';
import type { FileTransferOptions, ObjectStore } from './object-store.js';
import { runParallel } from './parallel.js';
import { setProgress } from './set-progress.js';
import type { SetTransferOptions } from './set-progress.js';

/**
 * Stores a folder as an artifact: its files, then its manifest. Called again after a kill it goes on, file by file. An object that is there
 * with wrong bytes (a damaged disk) is deleted and written anew. That does not break create-once: the key names the content, so every
 * writer that ever writes it writes the same bytes, and a reader in the gap sees a missing file, which it verifies for and reports.
 */
export async function publishArtifact(
  store: ObjectStore,
  folder: string,
  options: PublishOptions = {},
): Promise<FileSetRef> {
  const manifest = await scanFolder(folder, { signal: options.signal, only: options.only });
  if (manifest.files.length === 0) {
    throw new StoreError(
      'NotFound',
      `The folder ${folder} holds no file, so there is no artifact to store; check the step that should have filled it.`,
    );
  }
  const ref = artifactRefOf(manifest);
  await putFiles(store, ref.prefix, folder, manifest, options, putOrRepair);
  const body = canonicalJson(manifest);
  if ((await store.create(ref.manifestKey, body)) === 'different') {
    await store.delete(ref.manifestKey);
    await store.create(ref.manifestKey, body);
  }
  return ref;
}

/**
 * Stores the files of `manifest` from a folder under a prefix of their own (a checkpoint's), then the manifest. Strictly create-once: a key
 * that holds other bytes is a `Conflict`, because here the name does not tell the content and two writers could differ.
 */
export async function publishFileSet(
  store: ObjectStore,
  folder: string,
  manifest: FileSet,
  place: { readonly prefix: string; readonly manifestKey: string },
  options: SetTransferOptions = {},
): Promise<FileSetRef> {
  const prefix = place.prefix.endsWith('/') ? place.prefix : `${place.prefix}/`;
  const checked = fileSetOf(manifest.files);
  await putFiles(store, prefix, folder, checked, options, (key, path, put) => store.putFile(key, path, put));
  const body = canonicalJson(checked);
  if ((await store.create(place.manifestKey, body)) === 'different') {
    throw new StoreError(
      'Conflict',
      `The manifest ${place.manifestKey} in ${store.url} names other files than ${folder} has; use a new prefix.`,
    );
  }
  return { prefix, manifestKey: place.manifestKey, digest: sha256Hex(body) };
}

type Put = (key: string, path: string, options: FileTransferOptions, store: ObjectStore) => Promise<unknown>;

async function putFiles(
  store: ObjectStore,
  prefix: string,
  folder: string,
  manifest: FileSet,
  options: SetTransferOptions,
  put: Put,
): Promise<void> {
  const progress = setProgress(manifest.files, options.onProgress);
  const indexed = manifest.files.map((file, index) => ({ file, index }));
  await runParallel(indexed, store.parallelFiles, options.signal, async ({ file, index }, signal) => {
    const onProgress = ({ bytesDone }: { readonly bytesDone: number }): void => {
      progress.bytes(index, bytesDone);
    };
    await put(
      `${prefix}${file.path}`,
      join(folder, file.path),
      { sha256: file.sha256, sizeBytes: file.sizeBytes, signal, onProgress },
      store,
    );
    progress.done(index);
  });
}

const putOrRepair: Put = async (key, path, options, store) => {
  try {
    await store.putFile(key, path, options);
  } catch (error) {
    if (!isStoreError(error, 'Conflict')) throw error;
    await store.delete(key);
    await store.putFile(key, path, options);
  }
};

/** Proves that the store still holds a file set, by reading every byte of it. */
import { readManifest } from './manifest.js';
import type { FileSetRef, SetFile } from './manifest.js';
import type { ObjectStore } from './object-store.js';
import { runParallel } from './parallel.js';
import { setProgress } from './set-progress.js';
import type { SetTransferOptions } from './set-progress.js';

export interface FileProblem {
  readonly path: string;
  readonly problem: 'missing' | 'truncated' | 'too-long' | 'flipped';
  readonly message: string;
}

/** Hashes what the store really holds. Answers what is wrong with each file, nothing if all is well. Errors: those of the manifest. */
export async function verifyFileSet(
  store: ObjectStore,
  ref: FileSetRef,
  options: SetTransferOptions = {},
): Promise<readonly FileProblem[]> {
  const manifest = await readManifest(store, ref);
  const progress = setProgress(manifest.files, options.onProgress);
  const indexed = manifest.files.map((file, index) => ({ file, index }));
  const problems = await runParallel(indexed, store.parallelFiles, options.signal, async ({ file, index }, signal) => {
    const onProgress = ({ bytesDone }: { readonly bytesDone: number }): void => {
      progress.bytes(index, bytesDone);
    };
    // A wrong size is known without reading a byte.
    const head = await store.head(`${ref.prefix}${file.path}`);
    const found =
      head?.sizeBytes === file.sizeBytes
        ? await store.digest(`${ref.prefix}${file.path}`, { signal, onProgress })
        : head;
    progress.done(index);
    return problemOf(file, found, store.url);
  });
  return problems.filter((problem) => problem !== undefined);
}

function problemOf(
  file: SetFile,
  found: { readonly sizeBytes: number; readonly sha256?: string } | undefined,
  url: string,
): FileProblem | undefined {
  const { path } = file;
  const name = `${JSON.stringify(path)} in ${url}`;
  if (found === undefined) return { path, problem: 'missing', message: `${name} is missing.` };
  const sizes = `it has ${found.sizeBytes} bytes instead of ${file.sizeBytes}`;
  if (found.sizeBytes < file.sizeBytes)
    return { path, problem: 'truncated', message: `${name} is truncated: ${sizes}.` };
  if (found.sizeBytes > file.sizeBytes) return { path, problem: 'too-long', message: `${name} is too long: ${sizes}.` };
  if (found.sha256 === file.sha256) return undefined;
  return {
    path,
    problem: 'flipped',
    message: `${name} has other bytes than its manifest says (SHA-256 ${found.sha256 ?? 'unknown'} instead of ${file.sha256}).`,
  };
}

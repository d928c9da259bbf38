/** Adds up the progress of files that move in parallel. */
import type { Progress } from './object-store.js';

export interface SetProgress extends Progress {
  readonly filesDone: number;
  readonly filesTotal: number;
}

export interface SetTransferOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: SetProgress) => void) | undefined;
}

export interface ProgressSum {
  /** File `index` has this many bytes now; after a fresh try it may be fewer than before. */
  bytes(index: number, bytesDone: number): void;
  /** File `index` is complete; `sizeBytes` if its size was not known before. */
  done(index: number, sizeBytes?: number): void;
  /** The size of file `index` is known now. */
  size(index: number, sizeBytes: number): void;
}

/** `files` in the order of the indexes; a file of unknown size counts nothing until its size is known. */
export function setProgress(
  files: readonly { readonly sizeBytes?: number | undefined }[],
  report: SetTransferOptions['onProgress'],
): ProgressSum {
  const sizes = files.map((file) => file.sizeBytes ?? 0);
  const done = files.map(() => 0);
  const finished = new Set<number>();
  let bytesDone = 0;
  let bytesTotal = sizes.reduce((sum, size) => sum + size, 0);
  const set = (list: number[], index: number, value: number): number => {
    const change = value - (list[index] ?? 0);
    list[index] = value;
    return change;
  };
  const tell = (): void => {
    report?.({ bytesDone, bytesTotal, filesDone: finished.size, filesTotal: files.length });
  };
  return {
    bytes: (index, value) => {
      bytesDone += set(done, index, value);
      tell();
    },
    size: (index, value) => {
      bytesTotal += set(sizes, index, value);
      tell();
    },
    done: (index, sizeBytes) => {
      if (sizeBytes !== undefined) bytesTotal += set(sizes, index, sizeBytes);
      bytesDone += set(done, index, sizes[index] ?? 0);
      finished.add(index);
      tell();
    },
  };
}

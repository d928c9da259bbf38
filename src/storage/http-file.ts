/** One file over HTTP: fetched into a part file, verified, recorded, then given its name. */
import { storeErrorOf } from './errors.js';
import type { FileDigest } from './hash-pool.js';
import { sha256File } from './hashing.js';
import type { Validator } from './http-response.js';
import { HttpTransfer, isWrong, wrongFile } from './http-transfer.js';
import type { HttpFileOptions, HttpSource } from './http-transfer.js';
import { PartFile } from './part-file.js';

export interface HttpFile extends FileDigest {
  readonly validator: Validator;
}

/** Called with the verified file before it gets its name, so that its record is there when the file is. */
export type BeforeMove = (part: string, file: HttpFile) => Promise<void>;

/** Fetches `source` to `path`; unfinished work is kept in `<base>.part` and `<base>.json`. Errors: StoreError of any kind but Conflict. */
export async function fetchHttpFile(
  source: HttpSource,
  path: string,
  base: string,
  options: HttpFileOptions,
  beforeMove: BeforeMove,
): Promise<HttpFile> {
  const part = await PartFile.open(base, source.url).catch((error: unknown) => {
    throw storeErrorOf(error, `open ${base}.part`);
  });
  try {
    const transfer = new HttpTransfer(source, part, options);
    await transfer.run();
    let found = await sha256File(part.path, { signal: options.signal });
    if (isWrong(source, found) && transfer.hasResumed) {
      // Pieces of two attempts may not belong together when no validator told: worth one fresh try.
      await part.begin(undefined);
      await transfer.run();
      found = await sha256File(part.path, { signal: options.signal });
    }
    if (isWrong(source, found)) {
      await part.begin(undefined);
      throw wrongFile(source, found);
    }
    const file = { ...found, validator: transfer.validator };
    await beforeMove(part.path, file);
    await part.moveTo(path);
    return file;
  } finally {
    // What made the transfer end matters more than a note that could not be written.
    await part.note().catch(() => undefined);
    await part.close();
  }
}

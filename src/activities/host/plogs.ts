/** What a trainer has left behind in files, read from their ends and within bounds: its own log, and those that CANN writes for each process. */
import { open, readdir, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';

/** Of one log of CANN, which has one for each process: at the level of errors a whole life. */
const PLOG_BYTES = 256 * 1024;
const PLOG_FILES = 48;
const PLOG_TOTAL_BYTES = 6 * 1024 * 1024;

export interface Part {
  readonly path: string;
  readonly body: Buffer;
  /** How large the file is of which this is the end. */
  readonly ofBytes: number;
}

/** None from a disk that cannot be read: a trainer's end is judged by what else there is. */
export async function plogTexts(dir: string): Promise<readonly string[]> {
  const { taken } = await plogs(dir).catch(() => ({ taken: [] }));
  return taken.map(({ body }) => body.toString());
}

/** The last bytes of a file that is there, from the beginning of a line. */
export async function endOf(dir: string, path: string, bytes: number): Promise<readonly Part[]> {
  const file = await open(join(dir, path), 'r').catch(() => undefined);
  if (file === undefined) return [];
  try {
    const { size } = await file.stat();
    const from = Math.max(0, size - bytes);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(size - from), 0, size - from, from);
    const read = buffer.subarray(0, bytesRead);
    return [{ path, body: from === 0 ? read : read.subarray(read.indexOf(10) + 1), ofBytes: size }];
  } finally {
    await file.close();
  }
}

/** Those that were written last, since one that has died of itself wrote its reason last; what is too much is named. */
export async function plogs(
  dir: string,
): Promise<{ readonly taken: readonly Part[]; readonly leftOut: readonly string[] }> {
  const found = await Promise.all(
    (await readdir(join(dir, 'plog'), { recursive: true, withFileTypes: true }).catch(() => []))
      .filter((entry) => entry.isFile())
      .map(async (entry) => {
        const path = join(entry.parentPath, entry.name);
        return { path: relative(dir, path), writtenAt: (await stat(path)).mtimeMs };
      }),
  );
  const newest = found.toSorted((a, b) => b.writtenAt - a.writtenAt).map(({ path }) => path);
  const taken: Part[] = [];
  let bytes = 0;
  for (const path of newest.slice(0, PLOG_FILES)) {
    const [part] = await endOf(dir, path, PLOG_BYTES);
    if (part === undefined || bytes + part.body.length > PLOG_TOTAL_BYTES) break;
    taken.push(part);
    bytes += part.body.length;
  }
  return { taken, leftOut: newest.slice(taken.length, taken.length + PLOG_FILES) };
}

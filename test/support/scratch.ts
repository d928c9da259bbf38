/** Temporary folders and files for tests. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { onTestFinished } from 'vitest';

/** A folder that is removed when the test that asked for it has finished. */
export async function scratchFolder(): Promise<string> {
  const parent = await mkdtemp(join(tmpdir(), 'anneal-test-'));
  onTestFinished(() => rm(parent, { recursive: true, force: true }));
  // One level down, so that what is written beside the folder goes with it.
  const folder = join(parent, 'scratch');
  await mkdir(folder);
  return folder;
}

/** Writes files below a folder; keys are relative paths. */
export async function writeTree(folder: string, files: Readonly<Record<string, string | Uint8Array>>): Promise<void> {
  for (const [path, body] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), body);
  }
}

export interface RandomFile {
  readonly path: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

/** A file of random bytes with its digest; written and hashed by a MiB, so that it costs the test no memory. */
export async function randomFile(path: string, sizeBytes: number): Promise<RandomFile> {
  const handle = await open(path, 'w');
  const hash = createHash('sha256');
  for (let done = 0; done < sizeBytes;) {
    const bytes = randomBytes(Math.min(1024 * 1024, sizeBytes - done));
    hash.update(bytes);
    await handle.write(bytes);
    done += bytes.byteLength;
  }
  await handle.close();
  return { path, sizeBytes, sha256: hash.digest('hex') };
}

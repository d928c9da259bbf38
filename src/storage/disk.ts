/** Durable steps on a local file system: what these functions have returned from survives a power cut. */
import { randomUUID } from 'node:crypto';
import { chmod, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { StoreError, isErrno } from './errors.js';
import { compareKeys } from './keys.js';

export const fileMode = 0o644;
const folderMode = 0o755;

interface FolderSync {
  readonly running: Promise<void>;
  /** The one that begins when the running one has ended; whoever comes now shares it. */
  next?: Promise<void>;
}
const folderSyncs = new Map<string, FolderSync>();

/**
 * Makes the names in a folder durable: a file's own fsync does not cover the entry that names it. Calls that come while a sync runs share the
 * next one: of many files that arrive in a folder at once, not each costs a turn of the disk.
 */
export async function syncFolder(folder: string): Promise<void> {
  const current = folderSyncs.get(folder);
  if (current === undefined) return startSync(folder);
  const begin = (): Promise<void> => startSync(folder);
  current.next ??= current.running.then(begin, begin);
  return current.next;
}

async function startSync(folder: string): Promise<void> {
  const running = syncNow(folder);
  const sync: FolderSync = { running };
  folderSyncs.set(folder, sync);
  try {
    await running;
  } finally {
    if (folderSyncs.get(folder) === sync && sync.next === undefined) folderSyncs.delete(folder);
  }
}

async function syncNow(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Creates a folder and its parents, durably, with mode 0755 whatever the umask is. */
export async function ensureFolder(folder: string): Promise<void> {
  const firstCreated = await mkdir(folder, { recursive: true, mode: folderMode });
  if (firstCreated === undefined) return;
  for (let path = folder; path.length >= firstCreated.length; path = dirname(path)) {
    await chmod(path, folderMode);
    await syncFolder(dirname(path));
  }
}

/** Opens a file that is to be stored. Error: `NotFound`. */
export async function openSource(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r');
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR'))
      throw new StoreError('NotFound', `There is no file ${path} to store.`, error);
    throw error;
  }
}

/** Writes all bytes at a position; one `write` may take fewer than it is given. */
export async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let written = 0; written < bytes.byteLength;) {
    const { bytesWritten } = await handle.write(bytes, written, bytes.byteLength - written, position + written);
    written += bytesWritten;
  }
}

/** Replaces a file of our own: a reader sees the old bytes or the new, never a mixture. */
export async function replaceFile(path: string, body: string): Promise<void> {
  const temporary = `${path}.${randomUUID()}.new`;
  try {
    await writeNewFile(temporary, Buffer.from(body));
    await rename(temporary, path);
  } finally {
    await rm(temporary, { force: true });
  }
  await syncFolder(dirname(path));
}

/** Writes a file that must not exist yet, and syncs its bytes; its name is durable only after `syncFolder`. */
export async function writeNewFile(path: string, bytes: Uint8Array): Promise<void> {
  const handle = await open(path, 'wx', fileMode);
  try {
    await handle.chmod(fileMode);
    await writeAll(handle, bytes, 0);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** A file or folder that is not there (or lies below a file) is undefined, not an error. */
export async function orUndefined<T>(result: Promise<T>): Promise<T | undefined> {
  try {
    return await result;
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw error;
  }
}

/**
 * All regular files below a folder, as sorted relative paths with slashes; empty folders are not seen.
 * A link is refused and not followed: a data set that somebody else packed could name any file of this machine by it.
 */
export async function walkFiles(folder: string): Promise<readonly string[]> {
  const found: string[] = [];
  const pending = [''];
  for (let relative = pending.pop(); relative !== undefined; relative = pending.pop()) {
    for (const entry of await readdir(join(folder, relative), { withFileTypes: true })) {
      const path = relative === '' ? entry.name : `${relative}/${entry.name}`;
      if (entry.isDirectory()) pending.push(path);
      else if (entry.isFile()) found.push(path);
      else throw notAFile(folder, path, entry.isSymbolicLink());
    }
  }
  return found.sort(compareKeys);
}

function notAFile(folder: string, path: string, isLink: boolean): StoreError {
  const what = isLink ? 'a symbolic link' : 'neither a file nor a folder';
  const message = `${JSON.stringify(path)} in ${folder} is ${what}; only files can be stored. Copy the folder with \`cp -rL\` and use the copy.`;
  return new StoreError('KeyInvalid', message);
}

/** The folder below a folder store: where keys lie, what may be followed, and how a finished file becomes visible. */
import { randomUUID } from 'node:crypto';
import type { Stats } from 'node:fs';
import { link, lstat, readdir, realpath, rm, stat, unlink } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ensureFolder, orUndefined, syncFolder } from './disk.js';
import { StoreError, isErrno, storeErrorOf } from './errors.js';
import { checkKey, compareKeys, isKey, reservedSegment } from './keys.js';
import type { ObjectInfo } from './object-store.js';

export interface Place {
  readonly path: string;
  readonly stats: Stats | undefined;
}

export class FolderRoot {
  readonly url: string;
  readonly #folder: string;
  readonly #temporaryMaxAgeMs: number;
  #opened: Promise<string> | undefined;

  constructor(folder: string, temporaryMaxAgeMs: number) {
    this.#folder = resolve(folder);
    this.#temporaryMaxAgeMs = temporaryMaxAgeMs;
    this.url = pathToFileURL(this.#folder).href;
  }

  /** Where a key lies and what is there. Refuses to pass through a link: it could lead out of the root. */
  async place(key: string): Promise<Place> {
    checkKey(key);
    const root = await this.#root();
    let path = root;
    let stats: Stats | undefined;
    for (const segment of key.split('/')) {
      path = join(path, segment);
      stats = await orUndefined(lstat(path));
      if (stats === undefined) break;
      if (stats.isSymbolicLink()) {
        throw new StoreError(
          'KeyInvalid',
          `The key ${JSON.stringify(key)} leads through the link ${path}, which is not followed.`,
        );
      }
    }
    if (stats === undefined) await this.#checkPresent(root);
    return { path: join(root, key), stats };
  }

  async placeForWriting(key: string): Promise<Place> {
    const place = await this.place(key);
    if (place.stats !== undefined && !place.stats.isFile()) {
      throw new StoreError(
        'KeyInvalid',
        `The object ${JSON.stringify(key)} cannot be created: other objects lie below that name.`,
      );
    }
    return place;
  }

  async withTemporary<T>(use: (path: string) => Promise<T>): Promise<T> {
    const temporary = join(await this.#root(), reservedSegment, `${process.pid}-${randomUUID()}`);
    try {
      return await use(temporary);
    } finally {
      await orUndefined(unlink(temporary));
    }
  }

  /** Gives a synced temporary file its name. True if the object is now this file, false if one was there before. Durable either way. */
  async reveal(temporary: string, path: string): Promise<boolean> {
    try {
      await ensureFolder(dirname(path));
    } catch (error) {
      if (!isErrno(error, 'ENOTDIR', 'EEXIST')) throw error;
      throw new StoreError(
        'KeyInvalid',
        `The object ${path} cannot be created: its folder's name is taken by an object.`,
        error,
      );
    }
    let isMine = true;
    await link(temporary, path).catch((error: unknown) => {
      if (!isErrno(error, 'EEXIST')) throw error;
      isMine = false;
    });
    await syncFolder(dirname(path));
    return isMine;
  }

  async *walk(prefix: string): AsyncGenerator<ObjectInfo> {
    const parent = prefix.slice(0, prefix.lastIndexOf('/') + 1);
    const root = await this.#root();
    if (parent === '') await this.#checkPresent(root);
    else await this.place(parent.slice(0, -1));
    yield* this.#walkBelow(root, parent, prefix);
  }

  async *#walkBelow(root: string, parent: string, prefix: string): AsyncGenerator<ObjectInfo> {
    const entries = (await orUndefined(readdir(join(root, parent), { withFileTypes: true }))) ?? [];
    // A folder sorts with its slash, which is its place among all keys: "a.b" < "a/b" < "a0".
    const keys = entries
      .filter((entry) => entry.isDirectory() || entry.isFile())
      .map((entry) => `${parent}${entry.name}${entry.isDirectory() ? '/' : ''}`)
      .filter((key) => key.startsWith(prefix) && isKey(key.endsWith('/') ? key.slice(0, -1) : key));
    for (const key of keys.sort(compareKeys)) {
      if (key.endsWith('/')) {
        yield* this.#walkBelow(root, key, prefix);
        continue;
      }
      const stats = await orUndefined(lstat(join(root, key)));
      if (stats !== undefined) yield { key, sizeBytes: stats.size };
    }
  }

  #root(): Promise<string> {
    this.#opened ??= this.#open().catch((error: unknown) => {
      this.#opened = undefined;
      throw storeErrorOf(error, `open the store ${this.url}`);
    });
    return this.#opened;
  }

  async #open(): Promise<string> {
    await ensureFolder(this.#folder);
    const root = await realpath(this.#folder);
    const temporaries = join(root, reservedSegment);
    await ensureFolder(temporaries);
    const oldest = Date.now() - this.#temporaryMaxAgeMs;
    for (const name of await readdir(temporaries)) {
      const stats = await orUndefined(stat(join(temporaries, name)));
      if (stats !== undefined && stats.mtimeMs < oldest) await rm(join(temporaries, name), { force: true });
    }
    return root;
  }

  /** A miss means something only while the store is there: an unmounted disk must not look like an empty store. */
  async #checkPresent(root: string): Promise<void> {
    if ((await orUndefined(lstat(join(root, reservedSegment)))) !== undefined) return;
    throw new StoreError('Unavailable', `The store ${this.url} has gone away; check that its disk is mounted.`);
  }
}

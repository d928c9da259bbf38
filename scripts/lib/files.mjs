/** Files on disk: digests, sizes, free space, and links that change at once. */
import { createHash, randomBytes } from 'node:crypto';
import {
  createReadStream,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statfsSync,
  symlinkSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The clone that these scripts lie in. */
export const root = resolve(fileURLToPath(import.meta.url), '../../..');

/**
 * @param {string} text
 * @returns {string} hex
 */
export function sha256Text(text) {
  return createHash('sha256').update(text).digest('hex');
}

/**
 * @param {string} path
 * @returns {Promise<string>} hex
 */
export async function sha256File(path) {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest('hex');
}

/**
 * One digest over names and contents of files and folders; a path that is missing counts as missing, not as an error.
 * @param {string} base paths in the digest are relative to it, so that two clones agree
 * @param {readonly string[]} paths
 * @returns {string} hex
 */
export function sha256Tree(base, paths) {
  const hash = createHash('sha256');
  /** @param {string} path */
  const add = (path) => {
    const full = join(base, path);
    if (!existsSync(full)) return void hash.update(`missing ${path}\0`);
    if (lstatSync(full).isDirectory())
      return readdirSync(full)
        .sort()
        .forEach((name) => add(join(path, name)));
    const content = readFileSync(full);
    hash.update(`file ${path} ${content.length}\0`).update(content);
  };
  paths.forEach(add);
  return hash.digest('hex');
}

/**
 * Bytes of all plain files below a folder; links are not followed.
 * @param {string} folder
 * @returns {number}
 */
export function sizeOf(folder) {
  let bytes = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) bytes += sizeOf(path);
    else if (entry.isFile()) bytes += lstatSync(path).size;
  }
  return bytes;
}

/**
 * Free bytes for this user on the disk that holds a path, or would hold it, and which disk that is.
 * @param {string} path
 * @returns {{ freeBytes: number, disk: number }}
 */
export function freeSpace(path) {
  let folder = resolve(path);
  while (!existsSync(folder)) folder = dirname(folder);
  const { bavail, bsize } = statfsSync(folder);
  return { freeBytes: bavail * bsize, disk: lstatSync(folder).dev };
}

/**
 * Points a link elsewhere in one rename, so that no reader ever finds it missing.
 * @param {string} target
 * @param {string} link
 */
export function replaceLink(target, link) {
  mkdirSync(dirname(link), { recursive: true });
  const fresh = `${link}.${randomBytes(6).toString('hex')}`;
  symlinkSync(target, fresh);
  renameSync(fresh, link);
}

/**
 * @param {string} path
 * @returns {any} undefined when the file is missing or no JSON
 */
export function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}

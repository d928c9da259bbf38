/** The locks of trainer/requirements: which one a Python takes, and what is left of it for the CPU wheel index. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root, sha256Text } from './files.mjs';

/** Raise it when the way an environment is made changes, so that no clone takes one of the old making. */
const MAKING = 1;

/**
 * @param {number} minor of Python 3
 * @returns {string}
 */
export function lockPath(minor) {
  return join(root, 'trainer/requirements', `python3.${minor}.txt`);
}

/**
 * The name of an environment in the cache: two clones with the same lock share it.
 * @param {number} minor
 * @param {{ executable: string, torch: string }} [trainerPython] an environment on top of a user's Python is another one
 * @returns {string}
 */
export function environmentKey(minor, trainerPython) {
  const ours = [MAKING, process.platform, process.arch, minor, readFileSync(lockPath(minor), 'utf8')];
  const theirs = trainerPython ? [trainerPython.executable, trainerPython.torch] : [];
  return sha256Text(JSON.stringify([...ours, ...theirs])).slice(0, 16);
}

/**
 * @typedef {object} Requirement
 * @property {string} name in lower case, with hyphens
 * @property {string} version
 * @property {string} text its lines of the lock, with marker and hashes
 */

/**
 * @param {string} lock text of a lock
 * @returns {Requirement[]}
 */
export function parseLock(lock) {
  const entries = lock.replaceAll(/^\s*#.*\n/gm, '').split(/^(?=[A-Za-z0-9])/m);
  return entries.flatMap((text) => {
    const match = /^([A-Za-z0-9._-]+)==([^\s;\\]+)/.exec(text);
    return match ? [{ name: normalName(match[1] ?? ''), version: match[2] ?? '', text: text.trimEnd() }] : [];
  });
}

/**
 * @param {string} name
 * @returns {string}
 */
export function normalName(name) {
  return name.toLowerCase().replaceAll(/[._-]+/g, '-');
}

/**
 * What a CUDA build of torch brings along, and a CPU build does not know.
 * @param {Requirement} requirement
 * @returns {boolean}
 */
export function isForCuda({ name }) {
  return /^(nvidia-|cuda-|triton$)/.test(name);
}

/**
 * The lock for torch's CPU index. Its wheel is another file than the lock's: version pinned, no digest; the rest keeps its hashes.
 * @param {readonly Requirement[]} lock
 * @returns {string}
 */
export function lockForCpuIndex(lock) {
  const lines = lock
    .filter((requirement) => !isForCuda(requirement))
    .map(({ name, version, text }) => (name === 'torch' ? `torch==${version}` : text));
  return `${lines.join('\n')}\n`;
}

/**
 * Whether the default index has only a CUDA build of this torch for this machine, so that the CPU index is worth a look.
 * @param {string} torch
 * @param {string} platform as process.platform
 * @param {string} arch as process.arch
 * @returns {boolean}
 */
export function defaultIsCuda(torch, platform, arch) {
  if (platform !== 'linux') return false;
  return arch === 'x64' || !torch.startsWith('2.7.'); // on aarch64 CUDA builds began after 2.7
}

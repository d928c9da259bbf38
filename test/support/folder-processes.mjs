/** Which processes work on a folder: all whose command line, environment, working folder or standard input names it. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** @typedef {{ readonly pid: number, readonly command: readonly string[] }} FolderProcess */

/**
 * Living processes, zombies left out, that name the folder; neither ourselves nor those in `except`.
 * @param {string} folder absolute
 * @param {readonly number[]} [except] pids
 * @returns {FolderProcess[]}
 */
export function processesOf(folder, except = []) {
  const found = [];
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid || except.includes(pid)) continue;
    const command = commandLine(pid);
    // A zombie has no command line, and neither has a thread of the kernel.
    if (command.length === 0) continue;
    const words = [
      ...command,
      ...readList(`/proc/${name}/environ`),
      link(`/proc/${name}/cwd`),
      link(`/proc/${name}/fd/0`),
    ];
    if (words.some((word) => word.includes(folder))) found.push({ pid, command });
  }
  return found;
}

/**
 * The arguments with which a process was started; empty when it is gone.
 * @param {number} pid
 * @returns {string[]}
 */
export function commandLine(pid) {
  return readList(`/proc/${String(pid)}/cmdline`);
}

/** @param {string} path @returns {string[]} */
function readList(path) {
  try {
    const text = readFileSync(path, 'utf8');
    return text === '' ? [] : text.replace(/\0$/, '').split('\0');
  } catch {
    return []; // Gone between two calls, or another user's.
  }
}

/** @param {string} path @returns {string} */
function link(path) {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

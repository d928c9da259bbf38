/** Runs programs: their words kept for a message, bounded in time, and tried again when only the network failed. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { say } from './say.mjs';

/** The end of a program's output is what explains its failure; more would fill memory on a long install. */
const KEPT_CHARACTERS = 100_000;

/** @typedef {{ code: number, stdout: string, stderr: string, timedOut: boolean }} Result */
/**
 * @typedef {object} RunOptions
 * @property {string} [cwd]
 * @property {Record<string, string | undefined>} [env] added to ours; undefined removes a variable
 * @property {number} [timeoutMs]
 * @property {boolean} [live] the child writes to our terminal itself; nothing is kept
 */

/**
 * Never rejects for a failing program: the caller decides what a code means. A program that is not there is code 127.
 * @param {string} program
 * @param {readonly string[]} args
 * @param {RunOptions} [options]
 * @returns {Promise<Result>}
 */
export function run(program, args, { cwd, env = {}, timeoutMs, live = false } = {}) {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: live ? ['ignore', 'inherit', 'inherit'] : ['ignore', 'pipe', 'pipe'],
    });
    const kept = { stdout: '', stderr: '' };
    for (const name of /** @type {const} */ (['stdout', 'stderr'])) {
      child[name]?.setEncoding('utf8').on('data', (text) => {
        kept[name] = (kept[name] + text).slice(-KEPT_CHARACTERS);
      });
    }
    let timedOut = false;
    const timer = timeoutMs
      ? setTimeout(() => {
          timedOut = true;
          child.kill('SIGKILL');
        }, timeoutMs)
      : undefined;
    child.on('error', (error) => {
      clearTimeout(timer);
      resolve({ code: 127, stdout: '', stderr: error.message, timedOut: false });
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ code: code ?? (signal ? 128 : 1), ...kept, timedOut });
    });
  });
}

const NETWORK_WORDS =
  /timed? ?out|connection|reset by peer|network|failed to fetch|incomplete|unexpected eof|end of file|error decoding|error sending|temporary failure|\bdns\b|\b50[0234]\b|\b429\b/i;

/**
 * Whether a program failed for a reason that may be gone in a moment. A wrong hash or a missing version never is.
 * @param {Result} result
 * @returns {boolean}
 */
export function isNetworkFailure({ code, stdout, stderr }) {
  const text = stdout + stderr;
  return code !== 0 && NETWORK_WORDS.test(text) && !/hash(es)? (mismatch|do not match)|no solution found/i.test(text);
}

/** A cut line is back in seconds or not for long; finished files stay in the client's cache, so a try goes on. */
const PAUSES_MS = [2_000, 5_000, 15_000];

/**
 * @param {string} what for the message of a retry
 * @param {() => Promise<Result>} attempt
 * @returns {Promise<Result>}
 */
export async function withRetries(what, attempt) {
  for (const pauseMs of PAUSES_MS) {
    const result = await attempt();
    if (!isNetworkFailure(result)) return result;
    say(`  ${''.padEnd(13)} ${what} was cut off; going on in ${pauseMs / 1000} s`);
    await wait(pauseMs);
  }
  return attempt();
}

/**
 * All programs of a name on PATH, in its order.
 * @param {string} name
 * @returns {string[]}
 */
export function findAllOnPath(name) {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  return [...new Set(folders.map((folder) => join(folder, name)))].filter((path) => existsSync(path));
}

/**
 * The last lines of a failed program, indented, for an error message.
 * @param {Result} result
 * @param {number} [lines]
 * @returns {string}
 */
export function lastLines({ stdout, stderr }, lines = 15) {
  const text = stderr.trim() || stdout.trim();
  return text
    .split('\n')
    .slice(-lines)
    .map((line) => `    ${line}`)
    .join('\n');
}

/** What set-up and the test runner print: plain lines, so that a log without a terminal reads the same. */

/** @param {string} line */
export function say(line) {
  process.stdout.write(`${line}\n`);
}

/** An error that the user can act on: printed as its sentence, without a stack. */
export class UserError extends Error {}

/**
 * Runs one step and prints its name, what it did and how long that took.
 * @template T
 * @param {string} name
 * @param {() => Promise<{ did: string, value: T }>} work
 * @returns {Promise<T>}
 */
export async function step(name, work) {
  const startMs = performance.now();
  const { did, value } = await work();
  say(`  ${name.padEnd(13)} ${did} (${formatDuration(performance.now() - startMs)})`);
  return value;
}

/**
 * @param {number} ms
 * @returns {string}
 */
export function formatDuration(ms) {
  if (ms < 995) return `${(ms / 1000).toFixed(2)} s`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/**
 * Decimal units, as download pages and disks use them.
 * @param {number} bytes
 * @returns {string}
 */
export function formatBytes(bytes) {
  if (bytes < 1e6) return `${Math.ceil(bytes / 1e3)} kB`;
  if (bytes < 1e9) return `${Math.round(bytes / 1e6)} MB`;
  return `${(bytes / 1e9).toFixed(1)} GB`;
}

/**
 * The last words of a script: its sentence for an expected error, the stack for a bug; exit 1 for both.
 * @param {unknown} error
 * @returns {never}
 */
export function fail(error) {
  const text =
    error instanceof UserError
      ? error.message
      : error instanceof Error
        ? (error.stack ?? error.message)
        : String(error);
  process.stderr.write(`\n${text}\n`);
  process.exit(1);
}

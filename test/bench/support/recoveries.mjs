/** What a break cost, read from the loss records that trainers write: when they trained again, and when they came to what is new. */
import { readFileSync } from 'node:fs';

/** @typedef {{ iteration: number, at: number }} Row `at` in epoch seconds */
/** @typedef {{ again: number, fresh: number, lost: number }} Recovery seconds to any iteration, seconds to one that is new, iterations lost */

/** @param {readonly string[]} files of all nodes and generations @returns {Row[]} in the order of time */
export function rowsOf(files) {
  const rows = files.flatMap((file) =>
    read(file)
      .split('\n')
      .flatMap((line) => rowOf(line)),
  );
  return rows.sort((a, b) => a.at - b.at);
}

/** @param {string} line @returns {Row[]} none for a line that is still being written */
function rowOf(line) {
  try {
    const { iteration, time } = JSON.parse(line);
    return [{ iteration, at: time }];
  } catch {
    return [];
  }
}

/** @param {string} file */
function read(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return ''; // Its trainer has not come so far.
  }
}

/**
 * Undefined while it is not over. An iteration may still have ended after the kill; training has begun again where the numbers fall back.
 * @param {readonly Row[]} rows @param {number} killedAt epoch seconds @returns {Recovery | undefined}
 */
export function recoveryOf(rows, killedAt) {
  const first = rows.findIndex(
    ({ iteration, at }, index) => at > killedAt && iteration <= (rows[index - 1]?.iteration ?? 0),
  );
  const again = rows[first];
  if (again === undefined) return undefined;
  const reached = Math.max(
    ...rows
      .slice(0, first)
      .filter(({ at }) => at > killedAt - 60)
      .map(({ iteration }) => iteration),
  );
  const fresh = rows.slice(first).find(({ iteration }) => iteration > reached);
  if (fresh === undefined) return undefined;
  return { again: again.at - killedAt, fresh: fresh.at - killedAt, lost: reached - again.iteration + 1 };
}

/** @param {readonly number[]} numbers */
export function median(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b);
  const half = sorted.length / 2;
  return sorted.length % 2 === 1
    ? (sorted[Math.floor(half)] ?? Number.NaN)
    : ((sorted[half - 1] ?? Number.NaN) + (sorted[half] ?? Number.NaN)) / 2;
}

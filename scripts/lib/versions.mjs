/** Versions as numbers: reading them out of a program's words, and comparing them. */

/** @typedef {readonly [number, number, number]} Version */

/**
 * The first `a.b` or `a.b.c` in a text, such as `temporal version 1.8.2 (Server 1.31.2)`; undefined when there is none.
 * @param {string} text
 * @returns {Version | undefined}
 */
export function parseVersion(text) {
  const match = /(\d+)\.(\d+)(?:\.(\d+))?/.exec(text);
  return match ? [Number(match[1]), Number(match[2]), Number(match[3] ?? 0)] : undefined;
}

/**
 * @param {Version | undefined} version an unknown version is never new enough
 * @param {Version} least
 * @returns {boolean}
 */
export function isAtLeast(version, least) {
  if (!version) return false;
  for (const [index, wanted] of least.entries()) {
    const have = version[index] ?? 0;
    if (have !== wanted) return have > wanted;
  }
  return true;
}

/** Reading and comparing versions of the programs that set-up finds. */
import { describe, expect, test } from 'vitest';
import { isAtLeast, parseVersion } from '../../../scripts/lib/versions.mjs';

describe('parseVersion', () => {
  test.each([
    ['temporal version 1.8.2 (Server 1.31.2, UI 2.50.1)', [1, 8, 2]],
    ['uv 0.13.9 (x86_64-unknown-linux-gnu)', [0, 13, 9]],
    ['v20.19.0', [20, 19, 0]],
    ['2.7.1+cu126', [2, 7, 1]],
    ['2.16', [2, 16, 0]],
  ])('finds the version in %j', (text, version) => {
    expect(parseVersion(text)).toEqual(version);
  });

  test('finds none in a text without one', () => {
    expect(parseVersion('pyenv: temporal: command not found')).toBeUndefined();
  });
});

describe('isAtLeast', () => {
  test.each([
    [[20, 19, 0], [20, 19, 0], true],
    [[20, 18, 9], [20, 19, 0], false],
    [[22, 0, 0], [20, 19, 0], true],
    [[1, 10, 0], [1, 8, 0], true], // by number, not by letter
    [[0, 99, 99], [1, 0, 0], false],
  ] as const)('%j against %j is %j', (version, least, expected) => {
    expect(isAtLeast(version, least)).toBe(expected);
  });

  test('an unknown version is never new enough', () => {
    expect(isAtLeast(undefined, [0, 0, 0])).toBe(false);
  });
});

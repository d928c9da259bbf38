/** Getting the S3 server of the tests: from the cache, or a sentence about Go. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, expect, test, vi } from 'vitest';

const cache = mkdtempSync(join(tmpdir(), 'anneal-test-'));
vi.stubEnv('ANNEAL_CACHE', cache);
vi.stubEnv('PATH', '');
const { ensureVersitygw, VERSITYGW } = await import('../../../scripts/lib/versitygw.mjs');

afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(cache, { recursive: true });
});

test('without Go it says what to install; what is in the cache is taken without it', async () => {
  await expect(ensureVersitygw()).rejects.toThrow(/no "go" on PATH. Install Go/);
  expect(VERSITYGW.startsWith(cache)).toBe(true);
  mkdirSync(dirname(VERSITYGW), { recursive: true });
  writeFileSync(VERSITYGW, '');
  expect(await ensureVersitygw()).toEqual({ did: 'v1.8.0 in the cache', value: VERSITYGW });
});

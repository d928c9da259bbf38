/** `anneal import`: what is written where, and what it refuses to overwrite. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { importFile } from '../../../src/cli/commands/import.js';
import { planFile } from '../../../src/cli/spec-file.js';

const SCRIPT = 'examples/internvl3/finetune_internvl3_8B.sh';
const HOSTS = { hostfile: 'examples/internvl3/hostfile.txt' };
const folder = mkdtempSync(join(tmpdir(), 'anneal-import-'));
const before = process.cwd();
const written = { out: '', err: '' };

beforeAll(() => {
  process.chdir(fileURLToPath(new URL('../../fixtures/import', import.meta.url)));
});
afterAll(() => {
  process.chdir(before);
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  Object.assign(written, { out: '', err: '' });
  const keep = (name: 'out' | 'err') => (text: unknown) => {
    written[name] += String(text);
    return true;
  };
  vi.spyOn(process.stdout, 'write').mockImplementation(keep('out'));
  vi.spyOn(process.stderr, 'write').mockImplementation(keep('err'));
});
afterEach(() => {
  vi.restoreAllMocks();
});

test('the file that -o names is a spec that anneal plan accepts, and a second import does not overwrite it', async () => {
  const output = join(folder, 'run.yaml');
  expect(await importFile(SCRIPT, { ...HOSTS, output })).toBe(0);
  expect(await planFile(output)).toHaveProperty('plan');
  expect(written.out).toContain('Could not be carried (0)');
  expect(written.out).toContain(`Next: anneal plan ${output}`);
  const text = readFileSync(output, 'utf8');
  expect(text).toMatch(/^# Made by "anneal import" from finetune_internvl3_8B\.sh\.\n/);
  await expect(async () => importFile(SCRIPT, { ...HOSTS, output })).rejects.toThrow(/is there already/);
  expect(readFileSync(output, 'utf8')).toBe(text);
});

test('without -o the spec alone is the output, so that it can be piped', async () => {
  expect(await importFile(SCRIPT, HOSTS)).toBe(0);
  expect(written.out).toMatch(/^# Made by .*\n\nversion: 1\n/);
  expect(written.out).not.toContain('Dropped on purpose');
  expect(written.err).toContain('Dropped on purpose');
});

test('--json holds spec, account and the meta file', async () => {
  expect(await importFile(SCRIPT, { ...HOSTS, json: true })).toBe(0);
  expect(JSON.parse(written.out)).toMatchObject({
    spec: { version: 1, layout: { hosts: 4 } },
    entries: expect.arrayContaining([expect.objectContaining({ verdict: 'not understood' })]) as unknown,
    meta: { path: '/data/internvl/playground/anneal-import.json' },
  });
});

test('a refused script writes nothing, and ends with the code of a refusal', async () => {
  const output = join(folder, 'refused.yaml');
  expect(await importFile(SCRIPT, { output })).toBe(2);
  expect(written.err).toContain('is refused, 1 thing to put right');
  expect(existsSync(output)).toBe(false);
});

test('a file that is not there is no refusal of the script', async () => {
  await expect(async () => importFile('nowhere.sh', {})).rejects.toMatchObject({ exit: 'notFound' });
});

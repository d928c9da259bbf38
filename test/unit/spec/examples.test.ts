/** Every spec under examples/ does what its name says; every refused one says exactly what stands beside it. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { basename, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { planFile } from '../../../src/cli/spec-file.js';
import { specJsonSchema } from '../../../src/spec/json-schema.js';
import { showRefusals } from '../../../src/spec/refusal.js';

const examples = fileURLToPath(new URL('../../../examples/', import.meta.url));
const yamlFiles = (folder: string): string[] => readdirSync(folder).filter((name) => name.endsWith('.yaml'));
const refused = yamlFiles(join(examples, 'refused'));

async function verdict(file: string): Promise<string> {
  const planned = await planFile(file);
  return 'refusals' in planned ? showRefusals(basename(file), planned.refusals) : 'accepted';
}

describe('examples that run', () => {
  test.each(yamlFiles(examples))('%s is accepted by schema and plan, and names its schema', async (name) => {
    const text = readFileSync(join(examples, name), 'utf8');
    expect(await verdict(join(examples, name))).toBe('accepted');
    expect(text).toMatch(/^# yaml-language-server: \$schema=\.\/anneal\.schema\.json\n/);
  });

  test('the committed JSON Schema is the one that the code gives', () => {
    const committed: unknown = JSON.parse(readFileSync(join(examples, 'anneal.schema.json'), 'utf8'));
    expect(committed, 'run: npx anneal schema > examples/anneal.schema.json').toEqual(specJsonSchema());
  });
});

describe('refused examples', () => {
  test('there are at least twelve, each with its expected message', () => {
    expect(refused.length).toBeGreaterThanOrEqual(12);
  });

  test.each(refused)('%s is refused with exactly the message beside it', async (name) => {
    const file = join(examples, 'refused', name);
    expect(`${await verdict(file)}\n`).toBe(readFileSync(file.replace(/\.yaml$/, '.expected'), 'utf8'));
  });
});

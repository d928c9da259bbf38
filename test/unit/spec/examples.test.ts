/** Every spec under examples/ does what its name says; every refused one says exactly what stands beside it. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { specJsonSchema } from '../../../src/spec/json-schema.js';
import { parseSpec } from '../../../src/spec/parse.js';
import { showRefusals } from '../../../src/spec/refusal.js';

const examples = fileURLToPath(new URL('../../../examples/', import.meta.url));
const yamlFiles = (folder: string): string[] => readdirSync(folder).filter((name) => name.endsWith('.yaml'));
const refused = yamlFiles(join(examples, 'refused'));

describe('examples that run', () => {
  test.each(yamlFiles(examples))('%s is accepted and names its schema', (name) => {
    const text = readFileSync(join(examples, name), 'utf8');
    const parsed = parseSpec(text, { fileName: join(examples, name) });
    expect('refusals' in parsed ? showRefusals(name, parsed.refusals) : 'accepted').toBe('accepted');
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

  test.each(refused)('%s is refused with exactly the message beside it', (name) => {
    const file = join(examples, 'refused', name);
    const parsed = parseSpec(readFileSync(file, 'utf8'), { fileName: file });
    const shown = 'refusals' in parsed ? showRefusals(name, parsed.refusals) : 'accepted';
    expect(`${shown}\n`).toBe(readFileSync(file.replace(/\.yaml$/, '.expected'), 'utf8'));
  });
});

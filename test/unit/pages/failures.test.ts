/** docs/failures.md has the rows of the one table of failures, as `npm run docs:failures` writes them, and the exit codes as they are. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { EXIT_CODES } from '../../../src/cli/exit-codes.js';
import { EVIDENCE, FAILURES, OBSERVED, type FailureClass } from '../../../src/plan/failures.js';

const FILE = join(import.meta.dirname, '../../../docs/failures.md');
const page = readFileSync(FILE, 'utf8');
const failures = Object.entries<FailureClass>(FAILURES);

const table = (...rows: readonly (readonly string[])[]): string =>
  rows.map((cells) => `| ${cells.join(' | ')} |\n`).join('');

/** A failure that no gang can meet has no action of a gang. */
const action = ({ gang }: Pick<FailureClass, 'gang'>): string => gang ?? '-';

function failuresOf(actor: FailureClass['actor']): string {
  return table(
    ['Failure', 'Retry', 'Gang', 'Symptom and cause', 'What the engine did', 'What you do'],
    ['---', '---', '---', '---', '---', '---'],
    ...failures
      .filter(([, row]) => row.actor === actor)
      .map(([name, row]) => [
        ...[`\`${name}\``, row.retryable ? 'retried' : 'not retried', action(row)],
        ...[row.symptom, row.engine, row.remedy],
      ]),
  );
}

const TABLES: Readonly<Record<string, string>> = {
  user: failuresOf('user'),
  workflow: failuresOf('workflow'),
  nobody: failuresOf('nobody'),
  observed: table(
    ['Word', 'Gang', 'What it means', 'What the engine did'],
    ['---', '---', '---', '---'],
    ...Object.entries(OBSERVED).map(([name, row]) => [`\`${name}\``, action(row), row.symptom, row.engine]),
  ),
};

test('the page has the tables as they are; npm run docs:failures writes them', async () => {
  const names: string[] = [];
  const written = page.replaceAll(/^<!-- (\w+) -->\n[^]*?^<!-- end -->$/gm, (_, name: string) => {
    names.push(name);
    return `<!-- ${name} -->\n${TABLES[name] ?? ''}<!-- end -->`;
  });
  expect(names.toSorted()).toEqual(Object.keys(TABLES).toSorted());
  await expect(written).toMatchFileSnapshot(FILE);
});

test('each row has a cause, an action and a remedy, which fit into a cell', () => {
  for (const [name, { symptom, engine, remedy }] of failures)
    for (const cell of [symptom, engine, remedy]) expect(cell, name).toMatch(/^[^|\n]{8,}$/);
});

test('a gang knows what to make of each failure that it can meet, and stops for the user where he has to act', () => {
  for (const [name, { evidence, gang, actor }] of failures) {
    expect(evidence === undefined, name).toBe(gang === undefined);
    if (gang !== undefined) expect(gang === 'stop', name).toBe(actor === 'user');
  }
  expect(new Set(failures.flatMap(([, { evidence }]) => evidence ?? []))).toEqual(
    new Set(EVIDENCE.filter((one) => one !== 'host lost')),
  );
});

test('the exit codes are those of the command', () => {
  const [, section = ''] = page.split('## Exit codes of the command');
  const told = [...section.matchAll(/^\| (\d+) \| (.+) \|$/gm)].map(([, code, meaning]) => ({
    code: Number(code),
    meaning,
  }));
  expect(told).toEqual(Object.values(EXIT_CODES).map(({ code, meaning }) => ({ code, meaning })));
});

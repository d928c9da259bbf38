/** docs/failures.md has one row for each failure of the contract, under the heading of who acts, and the exit codes as they are. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { EXIT_CODES } from '../../../src/cli/exit-codes.js';
import { FAILURES } from '../../../src/contract/failures.js';

const page = readFileSync(new URL('../../../docs/failures.md', import.meta.url), 'utf8');

const ACTORS: Readonly<Record<string, string>> = {
  'The user acts': 'user',
  'The engine acts': 'workflow',
  'Nobody acts': 'nobody',
};

/** Cells of every table row below a heading. */
function rowsUnder(heading: string): string[][] {
  const section = page.split(/^## /m).find((part) => part.startsWith(`${heading}\n`)) ?? '';
  return section
    .split('\n')
    .filter((line) => /^\| [`\d]/.test(line))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
}

const rows = Object.entries(ACTORS).flatMap(([heading, actor]) =>
  rowsUnder(heading).map(([name = '', retry = '', ...rest]) => ({
    name: name.replaceAll('`', ''),
    retry,
    actor,
    rest,
  })),
);

test('each failure type has one row, and no row names a type that is none', () => {
  expect(rows.map(({ name }) => name).sort()).toEqual(Object.keys(FAILURES).sort());
});

test('each row stands under who acts next, says whether the server retries, and has a cause, an action and a remedy', () => {
  const told = rows.map(({ name, retry, actor }) => [name, { retryable: retry === 'retried', actor }] as const);
  expect(Object.fromEntries(told)).toEqual(FAILURES);
  for (const { name, retry, rest } of rows) {
    expect(['retried', 'not retried'], name).toContain(retry);
    expect(rest, name).toHaveLength(3);
    for (const cell of rest) expect(cell, name).not.toBe('');
  }
});

test('the exit codes are those of the command', () => {
  const told = rowsUnder('Exit codes of the command').map(([code, meaning]) => ({ code: Number(code), meaning }));
  expect(told).toEqual(Object.values(EXIT_CODES).map(({ code, meaning }) => ({ code, meaning })));
});

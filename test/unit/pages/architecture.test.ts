/** docs/architecture.md draws the arrows that the checker holds, and the pages of docs link to files that are there. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const page = readFileSync(join(root, 'docs/architecture.md'), 'utf8');

interface Rules {
  readonly forbidden: readonly { readonly name: string; readonly to: { readonly path?: string } }[];
}

/** Room → rooms that it may import, from the rules `arrows-of-<room>`, which forbid all but those (and the room itself). */
function arrowsOfChecker(): Record<string, string[]> {
  const { forbidden } = createRequire(import.meta.url)(join(root, '.dependency-cruiser.cjs')) as Rules;
  const rows = forbidden.flatMap(({ name, to }) => {
    const room = /^arrows-of-(\w+)$/.exec(name)?.[1];
    const allowed = /\(\?!\(([^)]*)\)/.exec(to.path ?? '')?.[1]?.split('|') ?? [];
    return room === undefined ? [] : [[room, allowed.filter((other) => other !== room)] as const];
  });
  return Object.fromEntries(rows);
}

function arrowsOfPage(): Record<string, string[]> {
  const section = page.split(/^## /m).find((part) => part.startsWith('Rooms and doors')) ?? '';
  const names = (cell: string): string[] => [...cell.matchAll(/`(\w+)`/g)].map(([, name = '']) => name);
  const rows = section
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) => line.split('|').map((cell) => cell.trim()));
  return Object.fromEntries(rows.map(([, room = '', , allowed = '']) => [names(room)[0] ?? '', names(allowed)]));
}

test('the table of rooms has the arrows that the checker holds', () => {
  const checker = arrowsOfChecker();
  expect(Object.keys(checker).length).toBeGreaterThan(10);
  expect(arrowsOfPage()).toEqual(checker);
});

test('every folder of src is a room of the table', () => {
  const folders = readdirSync(join(root, 'src'), { withFileTypes: true }).filter((entry) => entry.isDirectory());
  expect(folders.map(({ name }) => name).sort()).toEqual(Object.keys(arrowsOfPage()).sort());
});

const pages = ['CONTRIBUTING.md', 'CHANGELOG.md', ...markdownBelow('docs')];

function markdownBelow(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(folder, name));
}

test.each(pages)('every link and every source file that %s names is there', (name) => {
  const text = readFileSync(join(root, name), 'utf8');
  const links = [...text.matchAll(/\]\(([^)#\s]+)[^)]*\)/g)]
    .map(([, link = '']) => link)
    .filter((link) => !/^\w+:/.test(link));
  const missingLinks = links.filter((link) => !existsSync(join(root, dirname(name), link)));
  const sources = [...text.matchAll(/`((?:src|scripts|test|trainer|examples|bin)\/[\w./-]*\.\w+)`/g)].map(
    ([, path = '']) => path,
  );
  expect({ missingLinks, missingSources: sources.filter((path) => !existsSync(join(root, path))) }).toEqual({
    missingLinks: [],
    missingSources: [],
  });
});

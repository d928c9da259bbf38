/** docs/spec.md names every field of the spec, no other one, and the default that the schema has. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { specJsonSchema, type SchemaNode } from '../../../src/spec/json-schema.js';

const page = readFileSync(new URL('../../../docs/spec.md', import.meta.url), 'utf8');

/** Path → its default as JSON, `required`, or a dash where leaving it out has a meaning of its own. */
function fieldsOf(node: SchemaNode, path: string): [string, string][] {
  const options = node.oneOf ?? node.anyOf;
  if (options !== undefined) return options.flatMap((option) => fieldsOf(option, path));
  const members = Object.entries(node.properties ?? {}).flatMap(([name, member]): [string, string][] => {
    const at = path === '' ? name : `${path}.${name}`;
    const isRequired = node.required?.includes(name) === true;
    const leftOut = isRequired ? 'required' : member.default === undefined ? '–' : JSON.stringify(member.default);
    return [[at, leftOut], ...fieldsOf(member, at)];
  });
  // A list of plain values has one row for its values; a list of groups has one for each field of the group.
  const items = node.items === undefined ? [] : fieldsOf(node.items, `${path}[]`);
  return [
    ...members,
    ...(node.items?.type === 'object' || node.items === undefined
      ? items
      : [[`${path}[]`, 'required'] as [string, string]]),
  ];
}

/** The rows of the page's tables that have four columns: one or more paths, and what counts when the field is left out. */
function rowsOf(text: string): [string, string][] {
  return text
    .split('\n')
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .filter((cells) => cells.length === 6 && /^`/.test(cells[1] ?? ''))
    .flatMap(([, paths = '', , leftOut = '']) =>
      [...paths.matchAll(/`([^`]+)`/g)].map(([, path = '']): [string, string] => [
        path,
        leftOut.replaceAll(/[`*]/g, ''),
      ]),
    );
}

const schemaFields = new Map(fieldsOf(specJsonSchema(), ''));
const pageFields = rowsOf(page);

test('every field of the schema has a row in docs/spec.md with what counts when it is left out, and no other row is there', () => {
  expect(pageFields.length).toBeGreaterThan(80);
  expect(pageFields.map(([path]) => path).sort()).toEqual([...schemaFields.keys()].sort());
  expect(Object.fromEntries(pageFields)).toEqual(Object.fromEntries(schemaFields));
});

test('the page shows the message that the command really gives', () => {
  const expected = readFileSync(new URL('../../../examples/refused/several-at-once.expected', import.meta.url), 'utf8');
  for (const line of expected.trim().split('\n').slice(1)) expect(page).toContain(line);
});

/** Checks a document against the spec's schema and names everything that is wrong at once. */
import { fileURLToPath, pathToFileURL } from 'node:url';
import { join } from 'node:path';
import { optionsAt, type SchemaNode, schemaAt, specJsonSchema, valueAt } from './json-schema.js';
import { nearest } from './nearest.js';
import type { Refusal } from './refusal.js';
import { type Issue, remedyFor, ruleFor } from './remedies.js';
import { replacedKey } from './replaced-keys.js';
import { RunSpec } from './run.js';

export type CheckedSpec = { readonly spec: RunSpec } | { readonly refusals: readonly Refusal[] };

/** A mistyped key can hide a missing one, and a repaired group can show a rule across fields: so we look more than once. */
const MAX_PASSES = 4;

/**
 * `folder` is what `file://./x` and `file://../x` in sources are relative to; without one they are refused. The spec that
 * comes back holds absolute addresses only.
 */
export function checkSpec(document: unknown, { folder }: { readonly folder?: string } = {}): CheckedSpec {
  const copy = structuredClone(document);
  const refusals = [...resolveSources(copy, folder)];
  for (let pass = 1; pass <= MAX_PASSES; pass += 1) {
    const parsed = RunSpec.safeParse(copy, { reportInput: false });
    if (parsed.success) return refusals.length === 0 ? { spec: parsed.data } : { refusals: inOrder(refusals) };
    const schema = specJsonSchema() as SchemaNode;
    const unknown = parsed.error.issues.filter((issue) => issue.code === 'unrecognized_keys');
    if (unknown.length === 0 || pass === MAX_PASSES)
      return {
        refusals: inOrder([...refusals, ...parsed.error.issues.flatMap((issue) => refuse(issue, copy, schema))]),
      };
    for (const issue of unknown) refusals.push(...repairKeys(issue, copy, schema));
  }
  return { refusals: inOrder(refusals) };
}

/** Dotted path as people write it: `data.source.files.0.path`. */
export function showPath(path: readonly PropertyKey[]): string {
  return path.map(String).join('.');
}

function refuse(issue: Issue, document: unknown, schema: SchemaNode): readonly Refusal[] {
  const value = valueAt(document, issue.path);
  const path = showPath(issue.path);
  const node = schemaAt(schema, document, issue.path);
  return [
    {
      path,
      value: withoutSecret(value),
      rule: ruleFor(issue, value, node),
      remedy: remedyFor(issue, path, value, node),
    },
  ];
}

/** A password in an address must not come back in a message, which lands in logs. */
function withoutSecret(value: unknown): unknown {
  return typeof value === 'string' ? value.replace(/^(\w+:\/\/)[^/]*@/, '$1***@') : value;
}

/** Refuses unknown keys and takes them out of the copy (or to the name that they meant), so that the rest is judged too. */
function repairKeys(
  issue: Issue & { code: 'unrecognized_keys' },
  document: unknown,
  schema: SchemaNode,
): readonly Refusal[] {
  const group = valueAt(document, issue.path) as Record<string, unknown>;
  const known = Object.keys(schemaAt(schema, document, issue.path)?.properties ?? {});
  return issue.keys.map((key) => {
    const value = group[key];
    // eslint-disable-next-line @typescript-eslint/no-dynamic-delete -- a plain copy of a parsed document
    delete group[key];
    const at = { path: showPath([...issue.path, key]), value };
    const replaced = replacedKey(key) ?? keyOfAnotherKind(key, issue.path, document, schema);
    if (replaced !== undefined) return { ...at, rule: replaced[0], remedy: replaced[1] };
    const meant = nearest(
      key,
      known.filter((name) => !Object.hasOwn(group, name)),
    );
    if (meant !== undefined) group[meant] = value;
    return {
      ...at,
      rule: 'must not be there, since the spec knows no such key',
      remedy:
        meant === undefined ? `Remove it; here can stand ${known.join(', ')}.` : `Did you mean ${meant}? Rename it.`,
    };
  });
}

/** Of a group that comes in kinds: a key that only another kind has. */
function keyOfAnotherKind(
  key: string,
  path: readonly PropertyKey[],
  document: unknown,
  schema: SchemaNode,
): readonly [rule: string, remedy: string] | undefined {
  const kind = valueAt(document, [...path, 'kind']);
  const options = optionsAt(schema, document, path);
  const other = options.find(
    ({ properties = {} }) => properties['kind']?.const !== kind && Object.hasOwn(properties, key),
  );
  if (other === undefined) return undefined;
  const theirs = String(other.properties?.['kind']?.const);
  return [`must be left out with ${showPath(path)}.kind "${String(kind)}": only "${theirs}" has it`, 'Remove it.'];
}

/** Makes relative `file:` addresses of the copy absolute, and refuses those that cannot be. */
function resolveSources(document: unknown, folder: string | undefined): readonly Refusal[] {
  return ['model.source', 'data.source', 'training.initFrom'].flatMap((path) => {
    const source = valueAt(document, path.split('.'));
    const uri = valueAt(source, ['uri']);
    if (typeof uri !== 'string' || !uri.startsWith('file://')) return [];
    const refusal = (rule: string): readonly Refusal[] => [
      {
        path: `${path}.uri`,
        value: uri,
        rule,
        remedy: 'Write file:///absolute/folder, or file://./folder for one beside the spec file.',
      },
    ];
    const rest = uri.slice('file://'.length);
    try {
      if (/^\.\.?(\/|$)/.test(rest)) {
        if (folder === undefined) return refusal('must be absolute, since this spec was not read from a file');
        (source as Record<string, unknown>)['uri'] = new URL(rest, pathToFileURL(join(folder, '/'))).href;
      } else fileURLToPath(uri);
      return [];
    } catch {
      return refusal('must name a folder of the fetching host by an absolute or a relative path');
    }
  });
}

/** By path, so that the same spec always gives the same text. */
export function inOrder(refusals: readonly Refusal[]): readonly Refusal[] {
  return [...refusals].sort((a, b) => compare(a.path, b.path) || compare(a.rule, b.rule));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

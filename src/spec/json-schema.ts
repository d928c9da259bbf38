/** The spec as JSON Schema: for editors, and for finding out what may stand at a path. */
import { z } from 'zod';
import { RunSpec } from './run.js';

/** The part of JSON Schema that `z.toJSONSchema` gives for our spec and that we read ourselves. */
export interface SchemaNode {
  readonly type?: string;
  readonly description?: string;
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly required?: readonly string[];
  readonly items?: SchemaNode;
  readonly oneOf?: readonly SchemaNode[];
  readonly anyOf?: readonly SchemaNode[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly default?: unknown;
}

/** Draft 7, which the YAML language servers of the common editors all know. */
export function specJsonSchema(): Record<string, unknown> {
  const schema = z.toJSONSchema(RunSpec, {
    io: 'input',
    target: 'draft-7',
    override: ({ jsonSchema }) => {
      // Zod's bounds of a safe integer say nothing to a reader of the schema.
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
      if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
    },
  });
  return { ...schema, title: 'Anneal run spec' };
}

/** What the schema says at a path of a given document; unions are followed by the document's own `kind`. */
export function schemaAt(schema: SchemaNode, document: unknown, path: readonly PropertyKey[]): SchemaNode | undefined {
  let node = chooseOption(schema, document);
  let value: unknown = document;
  for (const step of path) {
    value = memberOf(value, step);
    const next = typeof step === 'number' ? node.items : node.properties?.[String(step)];
    if (next === undefined) return undefined;
    node = chooseOption(next, value);
  }
  return node;
}

/** The kinds that a group at a path comes in; none for a group of one kind. */
export function optionsAt(schema: SchemaNode, document: unknown, path: readonly PropertyKey[]): readonly SchemaNode[] {
  const last = path.at(-1);
  if (last === undefined) return [];
  const node = schemaAt(schema, document, path.slice(0, -1))?.properties?.[String(last)];
  return node?.oneOf ?? node?.anyOf ?? [];
}

/** The value at a path of a parsed document; undefined where there is none. */
export function valueAt(document: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce(memberOf, document);
}

function memberOf(value: unknown, step: PropertyKey): unknown {
  if (value === null || typeof value !== 'object' || !Object.hasOwn(value, step)) return undefined;
  return (value as Record<PropertyKey, unknown>)[step];
}

function chooseOption(node: SchemaNode, value: unknown): SchemaNode {
  const options = node.oneOf ?? node.anyOf;
  if (options === undefined) return node;
  const kind = memberOf(value, 'kind');
  return options.find((option) => option.properties?.['kind']?.const === kind) ?? node;
}

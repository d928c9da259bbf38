/** What to do about a broken rule, as a whole sentence: the half of a refusal that zod does not know. */
import type { z } from 'zod';
import type { SchemaNode } from './json-schema.js';
import { nearest } from './nearest.js';

export type Issue = z.core.$ZodIssue;

/** Rules of our own: `<path> <rule>` → what to change. First match counts. */
const ownRemedies: readonly (readonly [RegExp, string])[] = [
  [/^layout\.distTrain /, 'Change npus of a tower, or hosts or npusPerHost, until both numbers are equal.'],
  [
    /^layout\.(vision|language)LayersPerStage must be left out with virtualPipeline/,
    'Move the list into virtualPipeline, one row for each virtual stage, or remove virtualPipeline.',
  ],
  [
    /^layout\.(vision|language)LayersPerStage must be left out/,
    'Move the list into the tower of distTrain, or remove distTrain.',
  ],
  [/^layout\.virtualPipeline must be left out/, 'Remove virtualPipeline or distTrain.'],
  [/^layout\.virtualPipeline must give/, 'Add a row to both lists, or remove virtualPipeline.'],
  [/^layout\.virtualPipeline must have/, 'Use more ranks in every row, or remove virtualPipeline.'],
  [
    /^layout\.virtualPipeline\.\w+ /,
    'Give both towers as many rows, and every row one number for each pipeline rank; 0 layers on a stage are allowed.',
  ],
  [/^layout\.\w+Parallel must be left out/, 'Remove it.'],
  [/^layout\.\w+LayersPerStage /, 'Give both towers lists of one length; 0 layers on a stage are allowed.'],
  [
    /^layout\.distTrain\.\w+\.npus /,
    'Take a multiple of that number, or change tensorParallel or layersPerStage of the tower.',
  ],
  [/^layout\.hosts /, 'Change hosts or npusPerHost, or use fewer tensorParallel, contextParallel or stages.'],
  [
    /^model\.dimensions must be left out/,
    'Take a preset of the family, such as qwen2.5-vl-7b; its sizes are those of MindSpeed MM.',
  ],
  [/^model\.preset must be given/, 'Keep the one that describes the model and remove the other.'],
  [/^model\.preset /, 'Take a preset whose name begins with the family, or give dimensions instead of a preset.'],
  [/\.files must be left out/, 'Remove files, or put what you want into a folder of its own.'],
  [/\.files /, 'List each file as "- path: config.json" below the address.'],
  [/\.uri must not hold/, 'Take user and password out of the address and give them to the agent of the host.'],
  [/(^|\.)(path|meta) /, 'Write the path relative to the root of the source, for example "playground/meta.json".'],
];

/** The sentence for one issue; `node` is what the JSON Schema says of the field. */
export function remedyFor(issue: Issue, path: string, value: unknown, node: SchemaNode | undefined): string {
  const own = ownRemedies.find(([pattern]) => pattern.test(`${path} ${issue.message}`));
  if (issue.code === 'custom') return own?.[1] ?? 'Change the value so that the rule holds.';
  if (value === undefined) return `Add ${lastOf(path)}: ${example(node)}${meaning(node)}.`;
  switch (issue.code) {
    case 'invalid_type':
      return `Write ${article(kindOf(node))} here, for example ${example(node)}${meaning(node)}.`;
    case 'too_small':
      if (issue.origin === 'array') return `List at least ${bound(issue.minimum, issue.inclusive)}.`;
      if (node?.type === 'integer') return `Set it to ${bound(issue.minimum, issue.inclusive)} or more.`;
      return issue.inclusive === false
        ? `Set it above ${String(issue.minimum)}.`
        : `Set it to ${String(issue.minimum)} or more.`;
    case 'too_big':
      if (issue.origin === 'array') return `List at most ${String(issue.maximum)}.`;
      return issue.inclusive === false
        ? `Set it below ${String(issue.maximum)}.`
        : `Set it to ${String(issue.maximum)} or less.`;
    case 'invalid_value':
      return chooseOneOf(issue.values.map(String), value);
    case 'invalid_union':
      return chooseOneOf(optionsOf(issue), value);
    case 'invalid_format':
      return `Change it, for example to ${formatExample(path)}.`;
    default:
      return 'Change the value so that the rule holds.';
  }
}

/** The rule of one issue as the end of a sentence; our own messages already are one. */
export function ruleFor(issue: Issue, value: unknown, node: SchemaNode | undefined): string {
  if (value === undefined && issue.code !== 'custom') return 'must be given';
  if (issue.message.startsWith('must ')) return issue.message;
  switch (issue.code) {
    case 'invalid_type':
      return `must be ${article(kindOf(node) === 'value' ? issue.expected : kindOf(node))}`;
    case 'too_small':
      return `must be ${issue.inclusive === false ? 'greater than' : 'at least'} ${String(issue.minimum)}`;
    case 'too_big':
      return `must be ${issue.inclusive === false ? 'below' : 'at most'} ${String(issue.maximum)}`;
    case 'invalid_value':
      return `must be one of ${issue.values.map(String).join(', ')}`;
    default:
      return `must be valid (${issue.message})`;
  }
}

function chooseOneOf(options: readonly string[], value: unknown): string {
  if (options.length === 1) return `Set it to ${String(options[0])}.`;
  const meant = typeof value === 'string' ? nearest(value, options) : undefined;
  const list = options.join(', ');
  return meant === undefined ? `Set it to one of ${list}.` : `Did you mean ${meant}? It can be one of ${list}.`;
}

function optionsOf(issue: Issue): readonly string[] {
  return 'options' in issue && Array.isArray(issue.options) ? issue.options.map(String) : [];
}

function formatExample(path: string): string {
  if (path.endsWith('uri')) return '"file://./folder" (a space is written %20)';
  if (path.endsWith('sha256')) return 'the output of sha256sum';
  return '"digits-on-a-laptop"';
}

const kindNames: Readonly<Record<string, string>> = {
  integer: 'whole number',
  number: 'number',
  string: 'text',
  boolean: 'true or false',
  array: 'list',
  object: 'group of fields',
};

function kindOf(node: SchemaNode | undefined): string {
  if (node?.oneOf !== undefined || node?.anyOf !== undefined) return 'group of fields';
  return kindNames[node?.type ?? ''] ?? 'value';
}

function article(kind: string): string {
  return kind === 'true or false' || kind === 'text' ? kind : `a ${kind}`;
}

function example(node: SchemaNode | undefined): string {
  if (node?.const !== undefined) return JSON.stringify(node.const);
  if (node?.enum?.[0] !== undefined) return JSON.stringify(node.enum[0]);
  if (node?.default !== undefined) return JSON.stringify(node.default);
  const option = node?.oneOf?.[0];
  if (option !== undefined) return example(option);
  switch (node?.type) {
    case 'integer':
      return '1';
    case 'number':
      return '0.001';
    case 'boolean':
      return 'true';
    case 'array':
      return `[${example(node.items)}]`;
    case 'object':
      return `{ ${(node.required ?? []).map((key) => `${key}: ${example(node.properties?.[key])}`).join(', ')} }`;
    default:
      return '"..."';
  }
}

function meaning(node: SchemaNode | undefined): string {
  return node?.description === undefined ? '' : ` (${node.description.replace(/\.$/, '')})`;
}

function bound(minimum: number | bigint, inclusive: boolean | undefined): string {
  return inclusive === false ? String(Number(minimum) + 1) : String(minimum);
}

function lastOf(path: string): string {
  return path.slice(path.lastIndexOf('.') + 1);
}

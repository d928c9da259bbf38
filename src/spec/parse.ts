/** From the text of a spec file to a spec, or to everything that is wrong with it, each with its line. */
import { dirname, resolve } from 'node:path';
import { type Document, isNode, LineCounter, parseDocument } from 'yaml';
import { checkSpec } from './check.js';
import type { Refusal } from './refusal.js';
import type { RunSpec } from './run.js';

/** Far above any real spec; a larger file is a mistake (a data file, a log), not a spec. */
const MAX_CHARACTERS = 1_000_000;

export type ParsedSpec =
  | {
      readonly spec: RunSpec;
      /** Adds the line of the file to refusals that were found later, e.g. of the plan. */
      readonly locate: (refusals: readonly Refusal[]) => readonly Refusal[];
    }
  | { readonly refusals: readonly Refusal[] };

/** `fileName` names the file in messages; relative sources (`file://./x`) are relative to its folder. */
export function parseSpec(text: string, { fileName }: { readonly fileName: string }): ParsedSpec {
  if (text.length > MAX_CHARACTERS)
    return refuseDocument(
      `${String(text.length)} characters`,
      `must have at most ${String(MAX_CHARACTERS)} characters`,
      `Check that ${fileName} is a spec.`,
    );
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const errors = document.errors.map(({ code, message, pos }) => {
    const { line, col } = lines.linePos(pos[0]);
    return {
      path: '',
      value: lineOf(text, line),
      rule: `must be YAML, but line ${String(line)}, column ${String(col)} says: ${message.replace(/\.$/, '')}`,
      remedy:
        code === 'DUPLICATE_KEY'
          ? 'Keep one of the two.'
          : 'Put this line right; indent with spaces, and quote texts that hold ":" or "#".',
      line,
    };
  });
  if (errors.length > 0) return { refusals: errors };
  const content = toPlain(document);
  if (content === undefined || content === null || typeof content !== 'object' || Array.isArray(content))
    return refuseDocument(
      content ?? '',
      'must be a group of fields',
      'Begin with "version: 1"; examples/laptop.yaml is a whole spec.',
    );
  const checked = checkSpec(content, { folder: dirname(resolve(fileName)) });
  const locate = (refusals: readonly Refusal[]): readonly Refusal[] =>
    refusals.map((refusal) => withLine(refusal, document, lines));
  return 'spec' in checked ? { spec: checked.spec, locate } : { refusals: locate(checked.refusals) };
}

function refuseDocument(value: unknown, rule: string, remedy: string): { readonly refusals: readonly Refusal[] } {
  return { refusals: [{ path: '', value, rule, remedy }] };
}

/** Undefined when aliases make more of the document than the parser allows (a "billion laughs" file). */
function toPlain(document: Document): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 });
  } catch {
    return undefined;
  }
}

/** The line of the field, or of the nearest group around it that is in the file. */
function withLine(refusal: Refusal, document: Document, lines: LineCounter): Refusal {
  const path = refusal.path.split('.').map((step) => (/^\d+$/.test(step) ? Number(step) : step));
  for (let length = path.length; length > 0; length -= 1) {
    const node = document.getIn(path.slice(0, length), true);
    if (isNode(node) && node.range) return { ...refusal, line: lines.linePos(node.range[0]).line };
  }
  return refusal;
}

function lineOf(text: string, line: number): string {
  return text.split('\n', line)[line - 1]?.trim() ?? '';
}

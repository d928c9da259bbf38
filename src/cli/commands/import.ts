/** `anneal import SCRIPT`: a spec of a fine-tune script, and an account of what became of each of its lines. Nothing is run. */
import { closeSync, openSync, readFileSync, readSync, statSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { Document, isCollection } from 'yaml';
import type { Entry, Verdict } from '../../backends/mindspeed/import/draft.js';
import { type Imported, importScript } from '../../backends/mindspeed/import/import-script.js';
import { textTable } from '../../report/table.js';
import { showRefusals } from '../../spec/refusal.js';
import { CommandError, EXIT_CODES } from '../exit-codes.js';
import { note, print, printJson } from '../output.js';

export interface ImportFlags {
  readonly model?: string;
  readonly data?: string;
  readonly hostfile?: string;
  readonly output?: string;
  readonly json?: boolean;
}

export function importFile(scriptFile: string, { model, data, hostfile, output, json }: ImportFlags): Promise<number> {
  for (const file of [scriptFile, model, data, hostfile]) if (file !== undefined) requireFile(file);
  const files = { read: readText, begins: readBeginning, isFile };
  const imported = importScript({ scriptFile, cwd: process.cwd(), model, data, hostfile, ...files });
  if ('refusals' in imported) {
    if (json) printJson({ refusals: imported.refusals });
    else note(showRefusals(scriptFile, imported.refusals));
    return Promise.resolve(EXIT_CODES.refused.code);
  }
  const spec = specText(imported.document, basename(scriptFile));
  if (output !== undefined) writeSpec(output, spec);
  if (json)
    printJson({
      spec: imported.document,
      entries: imported.entries,
      meta: imported.meta ?? null,
      hints: imported.hints,
    });
  else if (output === undefined) {
    // The spec is the answer, so that it can be piped; the account of it is not.
    print(spec.trimEnd());
    note(showAccount(imported));
  } else print(`${showAccount(imported)}\n\n${output} is written. Next: anneal plan ${output}`);
  return Promise.resolve(EXIT_CODES.ok.code);
}

const HEADINGS: Readonly<Record<Verdict, string>> = {
  'not carried': 'Could not be carried',
  'not understood': 'Not understood, and not guessed',
  dropped: 'Dropped on purpose',
  added: 'Added, for the script does not say it',
  carried: 'Carried',
  same: 'The same without a field of the spec',
};

/** What needs a person first. */
export function showAccount({ entries, meta, hints }: Imported): string {
  const groups = (Object.keys(HEADINGS) as Verdict[]).map((verdict) => {
    const rows = entries
      .filter((entry) => entry.verdict === verdict)
      .map((entry) => [whereOf(entry), entry.what, entry.note]);
    const heading = `${HEADINGS[verdict]} (${String(rows.length)})`;
    return rows.length === 0 ? heading : `${heading}\n${textTable(['WHERE', 'WHAT', 'NOTE'], rows)}`;
  });
  const file = meta === undefined ? [] : [`Write this to ${meta.path}:\n${JSON.stringify(meta.content, null, 2)}`];
  return [...groups, ...file, ...hints].join('\n\n');
}

function whereOf({ line, lastLine, file }: Entry): string {
  if (line === undefined) return file ?? '-';
  return lastLine === undefined || lastLine === line ? String(line) : `${String(line)}-${String(lastLine)}`;
}

function specText(content: Readonly<Record<string, unknown>>, script: string): string {
  const document = new Document(content);
  document.commentBefore = ` Made by "anneal import" from ${script}.`;
  for (const path of [
    ['model', 'freeze'],
    ['model', 'lora', 'targets'],
    ['layout', 'visionLayersPerStage'],
    ['layout', 'languageLayersPerStage'],
    ['layout', 'virtualPipeline', 'visionLayersPerStage'],
    ['layout', 'virtualPipeline', 'languageLayersPerStage'],
    ['runtime', 'fusedOperators'],
    ...['vision', 'language'].map((tower) => ['layout', 'distTrain', tower, 'layersPerStage']),
  ]) {
    const node = document.getIn(path);
    if (isCollection(node)) node.flow = true;
  }
  return document.toString();
}

function requireFile(file: string): void {
  if (readText(file) === undefined)
    throw new CommandError('notFound', `The file ${file} cannot be read: check its path.`);
}

const BEGINNING_BYTES = 65_536;

function readBeginning(file: string): string | undefined {
  if (!isFile(file)) return undefined;
  const open = openSync(file, 'r');
  try {
    const bytes = Buffer.alloc(BEGINNING_BYTES);
    return bytes.subarray(0, readSync(open, bytes, 0, BEGINNING_BYTES, 0)).toString('utf8');
  } finally {
    closeSync(open);
  }
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
}

function readText(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

/** Never over a file that is there: it may hold what a person has changed since. */
function writeSpec(file: string, text: string): void {
  try {
    writeFileSync(file, text, { flag: 'wx' });
  } catch (error) {
    const isThere = error instanceof Error && 'code' in error && error.code === 'EEXIST';
    throw new CommandError(
      isThere ? 'refused' : 'failed',
      isThere
        ? `${file} is there already, and an import overwrites nothing. Name another file with -o, or remove it.`
        : `${file} cannot be written: ${error instanceof Error ? error.message : String(error)}.`,
      { cause: error },
    );
  }
}

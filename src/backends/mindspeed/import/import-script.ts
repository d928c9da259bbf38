/** A published kind of fine-tune script → a spec, with an account of every line. The script is read and never run. */
import { basename, resolve } from 'node:path';
import { checkSpec } from '../../../spec/check.js';
import { valueAt } from '../../../spec/json-schema.js';
import type { Refusal } from '../../../spec/refusal.js';
import type { Plan } from '../../../plan/plan.js';
import type { Model } from '../job.js';
import { composePlan } from '../../compose-plan.js';
import { CARRIED_OF_DATA, carryData, type MetaFile } from './data-file.js';
import { compareEntry, compareEnvironment, compareFile, compareFlags } from './compare.js';
import { Draft, type Entry } from './draft.js';
import { carryFlags } from './flags.js';
import type { Command } from './launch.js';
import { readLaunch } from './only-launch.js';
import { carryModel } from './model-file.js';
import { accountForLines } from './lines.js';

export interface ImportRequest {
  readonly scriptFile: string;
  /** The folder in which the script would be started: what its relative paths are relative to. */
  readonly cwd: string;
  readonly model?: string | undefined;
  readonly data?: string | undefined;
  readonly hostfile?: string | undefined;
  /** A file's text, or undefined when it cannot be read. */
  readonly read: (path: string) => string | undefined;
  /** Its beginning alone: rows may be gigabytes. */
  readonly begins: (path: string) => string | undefined;
  readonly isFile: (path: string) => boolean;
}

export interface Imported {
  /** What stands in the spec file. */
  readonly document: Readonly<Record<string, unknown>>;
  readonly entries: readonly Entry[];
  readonly meta: MetaFile | undefined;
  /** What works, but is not what a person wants. */
  readonly hints: readonly string[];
}

/** In the order of docs/spec.md. */
const FIELDS = [
  'version',
  'name',
  'model',
  'data',
  'runtime',
  'layout',
  'training',
  'checkpoint',
  'evaluation',
  'publish',
];

export function importScript(request: ImportRequest): Imported | { readonly refusals: readonly Refusal[] } {
  const draft = new Draft();
  const begun = readLaunch(draft, request);
  if (begun === undefined) return { refusals: draft.refusals };
  const { script, command } = begun;
  const distTrain = command.trainer.some(({ name }) => name === '--dist-train');
  nameIt(draft, request.scriptFile);
  const model = readJson(draft, request, command, { flag: '--mm-model', option: '--model', given: request.model });
  const data = readJson(draft, request, command, { flag: '--mm-data', option: '--data', given: request.data });
  const padId = valueAt(data?.content, ['dataloader_param', 'collate_param', 'pad_id']);
  const known =
    model === undefined ? undefined : carryModel(draft, model.content, { file: model.file, padId, distTrain });
  const meta = data === undefined ? undefined : carryData(draft, data.content, { ...request, file: data.file });
  const rotaryKey = valueAt(model?.content, ['text_decoder', 'use_fused_rotary_pos_emb']) === true;
  const fusion = { rotaryKey, published: known?.published.fusedOperators ?? [] };
  const rest = carryFlags(draft, command, { distTrain, fusion });
  complete(draft, known);
  const plan = draft.refusals.length > 0 ? undefined : planOf(draft);
  if (plan !== undefined) {
    compareFlags(draft, plan, rest, [...command.launcher, ...command.trainer]);
    if (command.entry !== undefined) compareEntry(draft, plan, command.entry);
    compareEnvironment(draft, plan, script.assignments);
    compareFile(draft, plan, model?.content, { file: model?.file ?? '', path: 'model.json', carried: [] });
    compareFile(draft, plan, data?.content, { file: data?.file ?? '', path: 'data.json', carried: CARRIED_OF_DATA });
  }
  if (draft.refusals.length > 0) return { refusals: byLine(draft.refusals) };
  accountForLines(draft, script, command);
  const document = Object.fromEntries(FIELDS.map((field) => [field, draft.document[field]]));
  return { document, entries: draft.entries, meta, hints: hintsOf(document) };
}

/** What the script does not say, and a spec must. */
function nameIt(draft: Draft, scriptFile: string): void {
  const words = basename(scriptFile)
    .replace(/\.\w+$/, '')
    .replace(/^finetune[_-]/, '')
    .toLowerCase();
  const name =
    words
      .replaceAll(/[^a-z0-9.]+/g, '-')
      .replaceAll(/^[-.]+|[-.]+$/g, '')
      .slice(0, 60) || 'imported';
  draft.add(['version'], 1, 'The version of the format.');
  draft.add(['name'], name, "From the script's name.");
  draft.add(['runtime', 'kind'], 'ascend', 'The script starts MindSpeed MM.');
  draft.add(
    ['runtime', 'mindspeedRelease'],
    '2.2.0',
    'The one release that plans are made for; the script does not tell its own.',
  );
}

function complete(draft: Draft, known: Model | undefined): void {
  if (known?.converter.runsModelCode !== false)
    draft.add(
      ['model', 'trustRemoteCode'],
      true,
      'mm-convert has run the code in your model folder when you converted it by hand. Read configuration_*.py there if you have not.',
    );
  draft.add(
    ['evaluation', 'heldOutFraction'],
    0.2,
    'The script judges nothing and trains on all rows; Anneal holds these images out and judges by them.',
  );
  draft.add(['evaluation', 'minimumAccuracy'], 0, 'No gate until you set one.');
  draft.add(['publish', 'model'], draft.document['name'], 'The name under which the result is promoted.');
}

/** The published script saves when it is done, and never before. */
function hintsOf(document: Readonly<Record<string, unknown>>): readonly string[] {
  const interval = valueAt(document, ['checkpoint', 'everyIterations']);
  if (interval !== valueAt(document, ['training', 'iterations'])) return [];
  return [
    'checkpoint.everyIterations is as long as the training: a lost host would cost all of it. Take a small part, such as 200.',
  ];
}

function planOf(draft: Draft): Plan | undefined {
  const checked = checkSpec(draft.document);
  const composed = 'refusals' in checked ? checked : composePlan(checked.spec);
  if (!('refusals' in composed)) return composed.plan;
  draft.refusals.push(...composed.refusals.map((one) => draft.inTheirWords(one)));
  return undefined;
}

interface WantedFile {
  readonly flag: string;
  readonly option: string;
  readonly given: string | undefined;
}

function readJson(
  draft: Draft,
  { cwd, read }: ImportRequest,
  { trainer, line }: Command,
  { flag, option, given }: WantedFile,
): { readonly file: string; readonly content: unknown } | undefined {
  const found = trainer.findLast(({ name }) => name === flag);
  const [value] = found?.values ?? [];
  const named = value?.unknown === undefined && value?.text !== undefined ? resolve(cwd, value.text) : undefined;
  const file = given ?? named;
  const text = file === undefined ? undefined : read(file);
  const origin = {
    what: given === undefined ? flag : option,
    ...(given === undefined ? { line: found?.line ?? line } : {}),
  };
  if (file === undefined || text === undefined) {
    draft.refuse(
      origin,
      file ?? value?.text,
      'must name a file that can be read here, since half of the training stands in it',
      `Call anneal import in the folder in which the script is started, or give the file with ${option}.`,
    );
    return undefined;
  }
  try {
    return { file: basename(file), content: JSON.parse(text) as unknown };
  } catch (error) {
    draft.refuse(
      origin,
      file,
      `must be JSON, but ${error instanceof Error ? error.message : String(error)}`,
      'Put it right; JSON has no comments.',
    );
    return undefined;
  }
}

function byLine(refusals: readonly Refusal[]): readonly Refusal[] {
  return [...refusals].sort((one, other) => (one.line ?? Infinity) - (other.line ?? Infinity));
}

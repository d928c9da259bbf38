/** data.json → the sources of model and data. A spec names one folder, so its list of files becomes a meta JSON for that folder. */
import { dirname, relative, resolve } from 'node:path';
import { parse } from 'node:path/posix';
import { pathToFileURL } from 'node:url';
import { valueAt } from '../../../spec/json-schema.js';
import type { Draft } from './draft.js';

/** To be put into the data folder, where `data.meta` looks for it. */
export interface MetaFile {
  readonly path: string;
  readonly content: Readonly<Record<string, unknown>>;
}

const META = 'anneal-import.json';
/** The published files say /path/json_path and /path/root_path. */
const UNSET = '/path/';
const BASIC = 'dataset_param.basic_parameters';

/** Told of field by field, or filled in on the host; whatever the kind of data set. */
export const CARRIED_OF_DATA = [
  'dataset_param.basic_parameters',
  'dataset_param.tokenizer_config.from_pretrained',
  'dataset_param.preprocess_parameters.model_name_or_path',
];

interface DataFile {
  readonly file: string;
  readonly cwd: string;
  /** Whether a path names a file here. */
  readonly isFile: (path: string) => boolean;
  /** The beginning of a file, or undefined when it cannot be read. */
  readonly begins: (path: string) => string | undefined;
}

/** Relative paths are the script's own: from the folder in which it is started. */
export function carryData(draft: Draft, data: unknown, where: DataFile): MetaFile | undefined {
  const { file, cwd } = where;
  const isHuggingFace = valueAt(data, ['dataset_param', 'dataset_type']) === 'huggingface';
  const tokenizer = isHuggingFace
    ? 'dataset_param.preprocess_parameters.model_name_or_path'
    : 'dataset_param.tokenizer_config.from_pretrained';
  const model = valueAt(data, tokenizer.split('.'));
  if (typeof model === 'string')
    draft.carry(['model', 'source', 'uri'], pathToFileURL(resolve(cwd, model)).href, { file, what: tokenizer });
  else
    draft.refuse(
      { file, what: tokenizer },
      model,
      "must be the folder of the publisher's model: its weights are converted and its tokenizer is read there",
      'Add it.',
    );
  carryLoading(draft, data, file);
  return carryRows(draft, data, where, isHuggingFace ? huggingFaceRows(data, where) : multimodalRows(data, where));
}

/** Tiles of an image, and rows in buckets. */
function carryLoading(draft: Draft, data: unknown, file: string): void {
  const tiles = 'dataset_param.max_dynamic_patch';
  const most = valueAt(data, tiles.split('.'));
  const isDynamic = valueAt(data, ['dataset_param', 'dynamic_image_size']) !== false;
  if (most !== undefined) draft.carry(['data', 'maximumTiles'], isDynamic ? most : 1, { file, what: tiles });
  if (valueAt(data, ['dataloader_param', 'sampler_type']) !== 'BucketBatchSampler') return;
  const mode = valueAt(data, ['dataloader_param', 'priority_mode']) ?? 'data_bucketing_img';
  // Any other mode is carried as it is, and refused as the field.
  const word = mode === 'data_bucketing_img' ? 'speed' : mode === 'data_reordering_img' ? 'accuracy' : mode;
  draft.carry(['runtime', 'dataBuckets'], word, { file, what: 'dataloader_param.sampler_type and priority_mode' });
}

interface Rows {
  readonly annotation: string;
  readonly images: string;
  readonly repeat: unknown;
}

/** One set of rows for each `data_path`; undefined for one without. */
function multimodalRows(data: unknown, { cwd }: DataFile): readonly (Rows | undefined)[] {
  const given = valueAt(data, BASIC.split('.'));
  return (Array.isArray(given) ? given : [given]).map((one: unknown): Rows | undefined => {
    const [annotation, images] = [valueAt(one, ['data_path']), valueAt(one, ['data_folder'])];
    if (typeof annotation !== 'string' || typeof images !== 'string') return undefined;
    return {
      annotation: resolve(cwd, annotation),
      images: resolve(cwd, images),
      repeat: valueAt(one, ['repeat_time']) ?? 1,
    };
  });
}

/** One set of rows for each file of `dataset`. Their images start from `dataset_dir`, or where there is none, from the folder of the start. */
function huggingFaceRows(data: unknown, { cwd, isFile, begins }: DataFile): readonly (Rows | undefined)[] {
  const at = (key: string): unknown => valueAt(data, [...BASIC.split('.'), key]);
  const [files, folder] = [at('dataset'), at('dataset_dir')];
  if (typeof files !== 'string' || typeof folder !== 'string') return [undefined];
  return files.split(',').map((path) => {
    const annotation = resolve(cwd, path);
    const image = /"images"\s*:\s*\[\s*"((?:[^"\\]|\\.)*)"/.exec(begins(annotation) ?? '')?.[1];
    const isFromStart = image !== undefined && !isFile(resolve(cwd, folder, image)) && isFile(resolve(cwd, image));
    return { annotation, images: isFromStart ? cwd : resolve(cwd, folder), repeat: 1 };
  });
}

function carryRows(
  draft: Draft,
  data: unknown,
  { file }: DataFile,
  sets: readonly (Rows | undefined)[],
): MetaFile | undefined {
  const what = BASIC;
  const known = sets.filter((one) => one !== undefined);
  if (known.length === 0 || known.length < sets.length) {
    const names =
      valueAt(data, ['dataset_param', 'dataset_type']) === 'huggingface'
        ? 'dataset and dataset_dir'
        : 'data_path and data_folder of each set of rows';
    draft.refuse({ file, what }, valueAt(data, what.split('.')), `must name ${names}`, 'Add them.');
    return undefined;
  }
  const unset = known.flatMap(({ annotation, images }) => [annotation, images]).find((path) => path.startsWith(UNSET));
  if (unset !== undefined) {
    draft.refuse(
      { file, what },
      unset,
      'must name your own rows and images; this path is the one of the published file, which stands for them',
      'Put in data_path (the file of rows) and data_folder (the folder of images), as for a training by hand.',
    );
    return undefined;
  }
  const foreign = known.find(({ annotation }) => !/\.jsonl?$/.test(annotation));
  if (foreign !== undefined) {
    draft.refuse(
      { file, what },
      foreign.annotation,
      'must end in .jsonl or .json',
      'Write the rows as one JSON object a line.',
    );
    return undefined;
  }
  const root = commonFolder(known.flatMap(({ annotation, images }) => [dirname(annotation), images]));
  if (root === '/') {
    draft.refuse(
      { file, what },
      known.map(({ annotation }) => annotation),
      'must lie below one folder, since a spec names one and all of it is fetched',
      'Move annotations and images below one folder.',
    );
    return undefined;
  }
  const content = metaOf(root, known);
  draft.carry(['data', 'source', 'uri'], pathToFileURL(root).href, { file, what });
  draft.add(
    ['data', 'meta'],
    META,
    `Names the same rows as ${what}. It must be put into ${root}, all of which is fetched.`,
  );
  return { path: resolve(root, META), content };
}

function metaOf(root: string, sets: readonly Rows[]): Readonly<Record<string, unknown>> {
  const content: Record<string, unknown> = {};
  for (const { annotation, images, repeat } of sets) {
    const stem = parse(annotation).name;
    let name = stem;
    for (let copy = 2; Object.hasOwn(content, name); copy += 1) name = `${stem}-${String(copy)}`;
    content[name] = {
      root: relative(root, images) || '.',
      annotation: relative(root, annotation),
      repeat_time: repeat,
    };
  }
  return content;
}

function commonFolder(folders: readonly string[]): string {
  const [first = '/', ...others] = folders;
  return others.reduce((common, folder) => {
    const steps = common.split('/');
    const other = folder.split('/');
    const different = steps.findIndex((step, index) => step !== other[index]);
    return (different < 0 ? steps : steps.slice(0, different)).join('/') || '/';
  }, first);
}

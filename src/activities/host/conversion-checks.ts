/** Checks around the converter, which ends with exit code 0 whatever it has left out: the index before, names and counts after. */
import { join } from 'node:path';
import { execa } from 'execa';
import { z } from 'zod';
import { expectedTensors } from '../../backends/mindspeed/tensor-names.js';
import type { StageResult } from '../../contract/activities.js';
import type { HoleValues, Plan } from '../../plan/plan.js';
import { failure } from '../fail.js';
import { joinEnvironments } from '../../process/capture-environment.js';
import type { HostDeps } from './deps.js';
import { parseJson } from './evidence.js';
import { readTensors, type TensorInfo } from './safetensors.js';

const Listing = z.object({
  ranks: z.array(
    z.object({
      rank: z.string(),
      tensors: z.array(z.object({ name: z.string(), chunk: z.string(), shape: z.array(z.int()) })),
    }),
  ),
});
/** Loading a checkpoint to list it takes about as long as reading it from the disk once. */
const LIST_LIMIT_MS = 3_600_000;
/** The exit code by which the listing says in a sentence that what lies there is no whole checkpoint. */
const CANNOT_BE_READ = 1;

export async function checkSourceModel(baseModel: string): Promise<void> {
  await readTensors(baseModel);
}

/** Every rank folder holds exactly the tensors that the plan gives it, and together they have all the parameters. */
export async function checkConverted(
  deps: HostDeps,
  plan: Plan,
  values: HoleValues & { readonly work: string },
): Promise<StageResult['facts']> {
  const source = await readTensors(values.baseModel ?? '');
  const { ranks } = await listConverted(deps, join(values.work, 'converted'));
  // Told by the folders: a pipeline stage, too, may hold one tower alone.
  const distTrain = plan.gang.releaseFiles.some(({ path }) => path.startsWith('mp_vit_rank'));
  const expected = placesOf([...source.keys()], plan, distTrain);
  // Virtual stages are chunks of one file, with the same names in each.
  const found = new Map(
    ranks.map(({ rank, tensors }) => [
      rank,
      tensors.map(({ name, chunk }) => (chunk === 'model' ? name : `${chunk}/${name}`)),
    ]),
  );
  for (const [folder, names] of expected) {
    const there = found.get(folder);
    if (there === undefined) throw wrong(`the folder ${folder} is missing`);
    const missing = names.filter((name) => !there.includes(name));
    const extra = there.filter((name) => !names.includes(name));
    if (missing.length > 0) throw wrong(`${folder} lacks ${some(missing)}`);
    if (extra.length > 0) throw wrong(`${folder} holds ${some(extra)}, which belongs elsewhere`);
  }
  const stale = [...found.keys()].filter((folder) => !expected.has(folder));
  if (stale.length > 0) throw wrong(`it holds ${some(stale)}, which is not in the plan`);
  const before = parametersIn([...source.values()]);
  const after = parametersIn(ranks.flatMap(({ tensors }) => tensors));
  // Tensor and data parallel ranks hold copies of what is not split, so only less than the source proves a loss.
  if (after < before) throw wrong(`it holds ${String(after)} parameters, but the model has ${String(before)}`);
  return { parameters: before, tensors: source.size };
}

/** A tensor that the layout has no place for is the model's fault, and the same at every attempt. */
function placesOf(names: readonly string[], plan: Plan, distTrain: boolean): ReturnType<typeof expectedTensors> {
  try {
    return expectedTensors(names, plan.gang.ranks, distTrain);
  } catch (error) {
    throw failure('ConversionWrong', error instanceof Error ? error.message : String(error), undefined, error);
  }
}

/** What comes back has the names, types and shapes of what went in. */
export async function checkPublished(baseModel: string, published: string): Promise<StageResult['facts']> {
  const before = await readTensors(baseModel);
  const after = await readTensors(published);
  for (const [name, { dtype, shape }] of before) {
    const there = after.get(name);
    if (there === undefined) throw wrong(`the published model lacks ${name}`);
    if (there.dtype !== dtype || there.shape.join() !== shape.join())
      throw wrong(`${name} is ${there.dtype}[${there.shape.join()}], but was ${dtype}[${shape.join()}]`);
  }
  const extra = [...after.keys()].filter((name) => !before.has(name));
  if (extra.length > 0) throw wrong(`the published model holds ${some(extra)}, which the base has not`);
  return { publishedTensors: after.size };
}

async function listConverted(deps: HostDeps, folder: string): Promise<z.output<typeof Listing>> {
  const listed = await execa(
    join(deps.runtimeBin, 'python'),
    ['-m', 'anneal_trainer.tensors', 'list', folder, '--json'],
    {
      env: joinEnvironments(deps.environment, { PYTHONPATH: deps.toolsHome }),
      extendEnv: false,
      timeout: LIST_LIMIT_MS,
      maxBuffer: 100 * 1024 * 1024,
      reject: false,
    },
  );
  const said = listed.stderr.trim().split('\n').at(-1) ?? '';
  if (listed.exitCode === CANNOT_BE_READ)
    throw wrong(`its result cannot be read: ${said.replace(/^error: |\.$/g, '')}`);
  if (listed.failed)
    throw failure(
      'CommandFailed',
      `The converted model in ${folder} could not be listed: ${listed.shortMessage ?? said}`,
    );
  const parsed = Listing.safeParse(parseJson(listed.stdout));
  if (!parsed.success) throw wrong(`it cannot be listed: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

function parametersIn(tensors: readonly Pick<TensorInfo, 'shape'>[]): number {
  return tensors.reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0);
}

function some(names: readonly string[]): string {
  return names.length <= 3 ? names.join(', ') : `${names.slice(0, 3).join(', ')} and ${String(names.length - 3)} more`;
}

function wrong(why: string): Error {
  return failure('ConversionWrong', `The converter ended with exit code 0, but ${why}.`);
}

/** Verified local copies of what a stage reads, and the values of the holes that they fill; of what a trainer reads, only that. */
import type { FileSetRef } from '../../contract/activities.js';
import type { ArtifactName, HoleName, HoleValues } from '../../plan/plan.js';
import { materialize, readManifest } from '../../storage/file-set.js';
import type { Reporter } from '../progress.js';
import type { HostDeps } from './deps.js';
import { cacheFolder, tokenizerFolder } from './work-folders.js';

/** Which hole a copy of an artifact fills. A checkpoint is not here: it needs a load folder of its own, with a tracker. */
const HOLES: Readonly<Partial<Record<ArtifactName, HoleName>>> = {
  model: 'baseModel',
  data: 'sourceData',
  converted: 'converted',
  dataset: 'dataset',
  start: 'start',
  published: 'published',
};

export async function bringInputs(
  { store, workRoot }: HostDeps,
  inputs: Readonly<Partial<Record<ArtifactName, FileSetRef>>>,
  { say, signal }: Reporter,
): Promise<HoleValues> {
  const values: Partial<Record<HoleName, string>> = {};
  for (const [name, ref] of Object.entries(inputs) as [ArtifactName, FileSetRef][]) {
    const hole = HOLES[name];
    if (hole === undefined) continue;
    const folder = cacheFolder(workRoot, ref.digest);
    await materialize(store, ref, folder, {
      signal,
      onProgress: ({ bytesDone, bytesTotal }) => {
        say({ message: `brings ${name}`, done: bytesDone, total: bytesTotal });
      },
    });
    values[hole] = folder;
  }
  return values;
}

/** Of the base model a trainer reads the tokenizer and the configuration: its weights come with the checkpoint, by rank. */
const WEIGHTS = /\.(safetensors|bin|pt|pth|gguf|onnx|h5|msgpack)$/;

/** For a node of a gang: the data set, and the base model without its weights, which may be hundreds of gigabytes. */
export async function bringTrainingInputs(
  deps: HostDeps,
  { dataset, model }: Readonly<Partial<Record<ArtifactName, FileSetRef>>>,
  reporter: Reporter,
): Promise<void> {
  const { store, workRoot } = deps;
  if (dataset !== undefined) await bringInputs(deps, { dataset }, reporter);
  if (model === undefined) return;
  const { files } = await readManifest(store, model);
  await materialize(store, model, tokenizerFolder(workRoot, model.digest), {
    only: files.map(({ path }) => path).filter((path) => !WEIGHTS.test(path)),
    near: [cacheFolder(workRoot, model.digest)],
    signal: reporter.signal,
  });
}

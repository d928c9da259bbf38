/** Verified local copies of what a stage reads, and the values of the holes that they fill. */
import type { FileSetRef } from '../../contract/activities.js';
import type { ArtifactName, HoleName, HoleValues } from '../../plan/plan.js';
import { materialize } from '../../storage/file-set.js';
import type { Reporter } from '../progress.js';
import type { HostDeps } from './deps.js';
import { cacheFolder } from './work-folders.js';

/** Which hole a copy of an artifact fills. A checkpoint is not here: it needs a load folder of its own, with a tracker. */
const HOLES: Readonly<Partial<Record<ArtifactName, HoleName>>> = {
  model: 'baseModel',
  data: 'sourceData',
  converted: 'converted',
  dataset: 'dataset',
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

/**
 * What earlier generations of a run have left on this host: the shards that a survivor goes on from without a download. A host is
 * proven empty before it is leased again, so nobody writes to them any more.
 */
import { readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { GangInput } from '../../contract/activities.js';
import { trainerDir } from '../../process/trainer-files.js';
import { partialOf } from '../../storage/file-set.js';

/** Beside a load folder of adapters alone: the converted model that they were trained beside. */
export const BASE_FOLDER = 'base';

/** The folders of the run's earlier generations on this host, whatever node it was in them; the newest first. */
export async function olderGenerations(trainers: string, node: GangInput): Promise<readonly string[]> {
  const ofRun = dirname(dirname(trainerDir(trainers, node)));
  const older = (await namesIn(ofRun)).map(Number).filter((generation) => generation < node.generation);
  const folders = older
    .sort((a, b) => b - a)
    .map(async (generation) => {
      const folder = join(ofRun, String(generation));
      return (await namesIn(folder)).map((nodeRank) => join(folder, nodeRank));
    });
  return (await Promise.all(folders)).flat();
}

/**
 * Frees the disk of checkpoints that are older than what the new generation has restored. Records, reports and logs stay. What cannot be
 * deleted costs disk and nothing else: a late attempt that was frozen amid its copies may still write there.
 */
export async function forgetCheckpoints(generations: readonly string[]): Promise<void> {
  for (const dir of generations)
    for (const name of ['save', 'load', partialOf('load'), BASE_FOLDER, partialOf(BASE_FOLDER)])
      await rm(join(dir, name), { recursive: true, force: true }).catch(() => undefined);
}

function namesIn(folder: string): Promise<readonly string[]> {
  return readdir(folder).catch(() => []);
}

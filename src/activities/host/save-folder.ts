/** What a training needs of a Megatron save folder that it begins from: the tracker, and the weights of the iteration that it names. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { iterationFolder, parseTracker, RELEASE_FOLDER, TRACKER_FILE } from '../../backends/mindspeed/checkpoint.js';
import { exists } from '../../process/trainer-files.js';
import { walkFiles } from '../../storage/disk.js';
import { failure } from '../fail.js';

/** Relative paths in order. Whether the weights are whole is found out by the conversion, which reads every tensor. */
export async function weightsOf(folder: string): Promise<readonly string[]> {
  const tracker = join(folder, TRACKER_FILE);
  if (!(await exists(tracker)))
    throw failure(
      'SourceNotFound',
      `${folder} holds no ${TRACKER_FILE} on this host, so it is no save folder of Megatron; training.initFrom names the folder that holds iter_… or release.`,
    );
  const named = parseTracker(await readFile(tracker, 'utf8'));
  if (named.kind === 'invalid')
    throw failure(
      'SourceNotFound',
      `${tracker} holds "${named.text}", which is neither "release" nor an iteration: its save was cut. Write the number of a whole iteration into it.`,
    );
  const inside = named.kind === 'release' ? RELEASE_FOLDER : iterationFolder(named.iteration);
  const paths = (await exists(join(folder, inside))) ? await walkFiles(join(folder, inside)) : [];
  const weights = paths.filter((path) => /^mp_[^/]+\/model_optim_rng\.pt$/.test(path));
  if (weights.length === 0)
    throw failure(
      'SourceNotFound',
      `${tracker} names ${inside}, but that folder holds no mp_…/model_optim_rng.pt on this host: the save is not whole.`,
    );
  return [TRACKER_FILE, ...weights.map((path) => `${inside}/${path}`)].sort();
}

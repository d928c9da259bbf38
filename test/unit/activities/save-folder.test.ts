/** What is taken of a save folder: the tracker and the weights it stands for, and a sentence where there are none. */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { weightsOf } from '../../../src/activities/host/save-folder.js';
import { scratchFolder } from '../../support/scratch.js';

const TRACKER = 'latest_checkpointed_iteration.txt';
let folder: string;

beforeEach(async () => {
  folder = await scratchFolder();
  for (const iteration of ['iter_0000020', 'iter_0000040', 'release'])
    for (const rank of ['mp_vit_rank_00', 'mp_gpt_rank_00_000']) {
      await mkdir(join(folder, iteration, rank), { recursive: true });
      for (const file of ['model_optim_rng.pt', 'distrib_optim.pt'])
        await writeFile(join(folder, iteration, rank, file), 'bytes');
    }
});

test.each([
  ['40', 'iter_0000040'],
  ['20', 'iter_0000020'],
  ['release', 'release'],
])('a tracker that says %s: the weights of that iteration and no optimizer', async (word, inside) => {
  await writeFile(join(folder, TRACKER), word);
  const weights = ['mp_gpt_rank_00_000', 'mp_vit_rank_00'].map((rank) => `${inside}/${rank}/model_optim_rng.pt`);
  expect(await weightsOf(folder)).toEqual([TRACKER, ...weights].toSorted());
});

test.each([
  ['', 'its save was cut'],
  ['4x', 'neither "release" nor an iteration'],
  ['60', 'names iter_0000060, but that folder holds no'],
])('a tracker that says "%s" is refused', async (word, sentence) => {
  await writeFile(join(folder, TRACKER), word);
  await expect(weightsOf(folder)).rejects.toMatchObject({ type: 'SourceNotFound', nonRetryable: true });
  await expect(weightsOf(folder)).rejects.toThrow(sentence);
});

test('so is a folder without one, and an iteration whose weights are gone', async () => {
  await expect(weightsOf(folder)).rejects.toThrow('is no save folder of Megatron');
  await writeFile(join(folder, TRACKER), '40');
  for (const rank of ['mp_vit_rank_00', 'mp_gpt_rank_00_000'])
    await rm(join(folder, 'iter_0000040', rank, 'model_optim_rng.pt'));
  await expect(weightsOf(folder)).rejects.toThrow('the save is not whole');
});

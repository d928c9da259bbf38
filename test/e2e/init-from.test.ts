/**
 * A run that begins from a Megatron save folder: the very folder that a trainer left on its host after an earlier run, taken into
 * another layout. One cluster; the second run goes on from what the first has learned.
 */
import { cp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RunFailedError, type FineTuneResult } from '../../src/client/index.js';
import type { RunSpecInput } from '../../src/spec/run.js';
import { DevCluster } from '../support/dev-cluster.js';
import { filesBelow, madeBy } from '../support/run-files.js';
import { BASE_MODEL, python, smallSpec, writeDigits } from '../support/small-run.js';
import { trainerFolder } from '../support/trainers.js';
import { within } from '../support/until.js';

const LIMIT_MS = 300_000;
const TRACKER = 'latest_checkpointed_iteration.txt';

let cluster: DevCluster;
/** Vision and language on one rank, so that one host's save folder is whole. */
let alone: RunSpecInput;
let first: FineTuneResult;
let saved: string;

beforeAll(async () => {
  cluster = await DevCluster.start({ agents: 2 });
  const data = join(cluster.root, 'data');
  await writeDigits(data);
  alone = { ...smallSpec({ data, iterations: 40 }), layout: { hosts: 1, npusPerHost: 1 } };
  const run = await cluster.anneal.runs.start(alone, { key: 'first' });
  first = await within('the first run ends', LIMIT_MS, run.result());
  saved = join(cluster.root, 'saved');
  for (const host of ['host-a', 'host-b'])
    await cp(join(trainerFolder(cluster, host, 'first', 1, 0), 'save'), saved, { recursive: true }).catch(
      () => undefined,
    );
});

afterAll(async () => {
  expect(await cluster.stop()).toEqual([]);
});

const from = (folder: string): RunSpecInput => ({
  ...alone,
  layout: { hosts: 2, npusPerHost: 1, distTrain: { vision: { npus: 1 }, language: { npus: 1 } } },
  training: { ...alone.training, iterations: 10, warmupIterations: 0, initFrom: { uri: pathToFileURL(folder).href } },
});

test('training begins from exactly the weights that lie there, in the layout of the new run', async () => {
  expect(await filesBelow(saved)).toContain('iter_0000040/mp_rank_00/distrib_optim.pt');
  const run = await cluster.anneal.runs.start(from(saved), { key: 'second' });
  const second = await within('the second run ends', LIMIT_MS, run.result());
  expect(second.outcome).toBe('promoted');

  // The optimizer's state is not taken, nor is anything else of the folder.
  const start = await madeBy(cluster, 'second', 'start');
  expect((await filesBelow(start.folder.replace(/\/$/, ''))).toSorted()).toEqual([
    'iter_0000040/mp_rank_00/model_optim_rng.pt',
    TRACKER,
  ]);

  // What training began from, brought back to the publisher's layout, is what the first run has published.
  const converted = await madeBy(cluster, 'second', 'converted');
  const [plain, hf] = [join(cluster.root, 'plain'), join(cluster.root, 'hf')];
  const lists = ['--target-vit-pp-layers', '[[2]]', '--target-gpt-pp-layers', '[[2]]'];
  const taken = ['--load-dir', converted.folder, '--save-dir', plain, '--hf-dir', BASE_MODEL];
  await python('-m', 'anneal_trainer.start_from', ...taken, ...lists);
  const layers = ['--cfg.parallel_config.llm_pp_layers', '[2]', '--cfg.parallel_config.vit_pp_layers', '[2]'];
  const back = ['--cfg.mm_dir', plain, '--cfg.save_hf_dir', hf, '--cfg.hf_config.hf_dir', BASE_MODEL, ...layers];
  await python('-m', 'anneal_trainer.mm_convert', 'InternVLConverter', 'mm_to_hf', ...back);
  const { digest } = JSON.parse(await python('-m', 'anneal_trainer.tensors', 'digest', hf)) as { digest: string };
  expect(digest).toBe(first.weightsDigest);

  const [before, after] = await Promise.all(
    ['first', 'second'].map(async (key) => (await cluster.anneal.runs.get(key).metrics()).rows),
  );
  expect(after?.[0]?.iteration).toBe(1);
  expect(after?.[0]?.loss).toBeLessThan((before?.[0]?.loss ?? 0) / 2);
});

test('the same folder again: everything before training is reused, and a look says so', async () => {
  const run = await cluster.anneal.runs.start(from(saved), { key: 'third' });
  const third = await within('the third run ends', LIMIT_MS, run.result());
  expect(third.stages.every(({ status }) => status === 'reused')).toBe(true);
});

test('a folder whose tracker names what is not there ends the run before a host is taken', async () => {
  const cut = join(cluster.root, 'cut');
  await cp(saved, cut, { recursive: true });
  await writeFile(join(cut, TRACKER), '60');
  const run = await cluster.anneal.runs.start(from(cut), { key: 'cut' });
  const failed = await within(
    'the run fails',
    LIMIT_MS,
    run.result().catch((error: unknown) => error),
  );
  if (!(failed instanceof RunFailedError)) throw new Error(`It has not failed: ${String(failed)}`);
  expect(failed.failure).toBe('SourceNotFound');
  expect(failed.message).toContain('names iter_0000060, but that folder holds no mp_…/model_optim_rng.pt');
});

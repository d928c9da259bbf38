/**
 * What a run has committed is what it goes on from: a damaged commit costs one commit and says so, old ones make room, and who was
 * frozen in the middle of a commit changes nothing. Real server, workers, agents and supervisors; the trainer is a stand-in whose
 * last checkpoint is the same bits only if no iteration was lost or done twice.
 */
import { rm, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { checkpointPrefix, checkpointsFolder, runLogPrefix } from '../../src/contract/store-keys.js';
import type { TrainGangResult } from '../../src/contract/messages.js';
import { showEvent } from '../../src/cli/show-event.js';
import { sha256Hex } from '../../src/storage/hashing.js';
import { Rig } from '../support/rig.js';
import { flipByte } from '../support/run-files.js';
import { REPOSITORY } from '../support/small-run.js';
import { until, within } from '../support/until.js';

const ITERATIONS = 40;
const EVERY = 10;
const LIMIT_MS = 60_000;
const SHARD = 'mp_gpt_rank_00/model_optim_rng.pt';

let rig: Rig;
let undisturbed: string;

beforeAll(async () => {
  rig = await Rig.start(['host-a', 'host-b']);
  const run = await rig.train('undisturbed', { iterations: ITERATIONS, every: EVERY });
  undisturbed = digestOf(await within('the undisturbed training ends', LIMIT_MS, run.result()));
});
afterAll(() => rig.stop());

/** The manifest names the SHA-256 of every shard, so its digest is that of the weights. */
const digestOf = ({ artifacts }: TrainGangResult): string => artifacts.checkpoint?.digest ?? 'none';

/** Trains until there are commits up to 30, and waits there. */
async function trainTo30(runId: string, keep: number) {
  await rig.hold(35);
  const run = await rig.train(runId, { iterations: ITERATIONS, every: EVERY, keep });
  await rig.logged(runId, 'commit 30');
  return run;
}

const fileOf = (runId: string, iteration: number, name: string): string =>
  join(rig.root, 'store', checkpointPrefix(runId, 1, iteration), name);

/** Ends generation 1 by a death that only a restart heals, and lets the rest be trained. */
async function breakGeneration(runId: string): Promise<void> {
  process.kill((await rig.nodes(runId))[0].trainer, 'SIGKILL');
  await rig.hold();
}

/** What lies under a prefix of the store: keys with the digests of their bytes. */
async function contentOf(prefix: string): Promise<Readonly<Record<string, string>>> {
  const content: Record<string, string> = {};
  for await (const { key } of rig.store.list(prefix)) content[key] = sha256Hex((await rig.store.read(key)) ?? '');
  return content;
}

describe('a commit that is damaged when it is restored', () => {
  test.each<[string, string, (path: string) => Promise<void>]>([
    ['a shard is missing', SHARD, (path) => rm(path)],
    ['a shard is truncated', SHARD, (path) => truncate(path, 7)],
    ['a byte of a shard is flipped', SHARD, flipByte],
    ['its manifest is missing', 'manifest.json', (path) => rm(path)],
    ['a byte of its manifest is flipped', 'manifest.json', flipByte],
  ])('is dropped, the one before is taken, and the cost is told: %s', async (what, name, damage) => {
    const runId = what.replaceAll(' ', '-');
    const run = await trainTo30(runId, 3);
    await damage(fileOf(runId, 30, name));
    await breakGeneration(runId);
    const result = await within('the training ends', LIMIT_MS, run.result());

    expect(digestOf(result)).toBe(undisturbed);
    expect(await rig.history(runId)).toEqual([
      ...['open 1', 'commit 10', 'commit 20', 'commit 30', 'open 2', 'drop 30'],
      ...['open 3', 'commit 30', 'commit 40', 'drop 10'],
    ]);
    const incident = (await rig.gang(runId)).incidents[1]!;
    expect(incident).toMatchObject({ generation: 2, failure: 'CheckpointDamaged', iterationsLost: 10 });
    const line = showEvent({ type: 'incident', ...incident });
    expect(line).toContain(name);
    expect(line).toContain('Drops the damaged commit of iteration 30; the commit before it is iteration 20');
    expect(line).toContain('10 iterations lost');
  });

  test('costs each a commit when two in a row are, and the start when no other is left', async () => {
    const run = await trainTo30('all', 2);
    for (const iteration of [20, 30]) await truncate(fileOf('all', iteration, SHARD), 0);
    await breakGeneration('all');
    const result = await within('the training ends', LIMIT_MS, run.result());

    expect(digestOf(result)).toBe(undisturbed);
    const opened = (await rig.log('all')).flatMap((fact) => (fact.fact === 'open' ? [fact.fromIteration] : []));
    expect(opened).toEqual([0, 30, 20, 0]);
    const { incidents } = await rig.gang('all');
    expect(incidents.map(({ failure, iterationsLost }) => [failure, iterationsLost])).toEqual([
      ['TrainerFailed', 5],
      ['CheckpointDamaged', 10],
      ['CheckpointDamaged', 20],
    ]);
    expect(incidents[2]?.decision).toContain('starts from the converted model');
  });
});

test('only the last commits keep their files, and what a drop for damage has taken away stays to be looked at', async () => {
  const run = await trainTo30('kept', 2);
  await truncate(fileOf('kept', 30, SHARD), 0);
  await breakGeneration('kept');
  await within('the training ends', LIMIT_MS, run.result());
  const folders = Object.keys(await contentOf(checkpointsFolder('kept'))).map((key) =>
    key.slice(checkpointsFolder('kept').length).split('/').slice(0, 2).join('/'),
  );
  expect([...new Set(folders)]).toEqual(['g1/iter_0000030', 'g3/iter_0000030', 'g3/iter_0000040']);
});

describe('a control worker that is frozen in the middle of a commit, and thawed a generation later, changes nothing', () => {
  test.each([
    // open 1, commit 10, commit 20: the commit of iteration 20 is the third fact.
    ['as it appends the fact', `${runLogPrefix('frozen-0')}000003.json`],
    ['as it writes the manifest', `${checkpointPrefix('frozen-1', 1, 20)}manifest.json`],
  ])('%s', async (_, ending) => {
    const runId = ending.split('/')[1] ?? '';
    await rig.kill('worker');
    await rig.startWorker('freezer', join(REPOSITORY, 'test/support/freezing-worker.mjs'), ending);
    await rig.hold(35);
    const run = await rig.train(runId, { iterations: ITERATIONS, every: EVERY });
    await until('the worker freezes', LIMIT_MS, () => rig.said('freezer').includes('freezes') || undefined);
    await rig.startWorker('worker');
    await rig.logged(runId, 'commit 30');
    process.kill((await rig.nodes(runId))[0].trainer, 'SIGKILL');
    await rig.logged(runId, 'open 2');
    await rig.nodes(runId, 2);
    const before = [await contentOf(runLogPrefix(runId)), await contentOf(checkpointsFolder(runId))];

    rig.signal('freezer', 'SIGCONT');
    await until('the worker is thawed', LIMIT_MS, () => /thawed: .*/.exec(rig.said('freezer'))?.[0]);
    expect(rig.said('freezer')).toContain('thawed: was there');
    expect([await contentOf(runLogPrefix(runId)), await contentOf(checkpointsFolder(runId))]).toEqual(before);
    await rig.hold();
    expect(digestOf(await within('the training ends', LIMIT_MS, run.result()))).toBe(undisturbed);
    await rig.kill('freezer');
    await rm(join(rig.root, 'freezer.log'));
  });
});

/**
 * What a run has committed is what it goes on from: a damaged commit costs one commit and says so, old ones make room, and who was
 * frozen in the middle of a commit changes nothing. Real server, workers, agents and supervisors; the trainer is a stand-in whose
 * last checkpoint is the same bits only if no iteration was lost or done twice.
 */
import { rm, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { showEvent } from '../../src/cli/show-event.js';
import type { TrainGangResult } from '../../src/contract/messages.js';
import { checkpointPrefix, checkpointsFolder, runLogPrefix } from '../../src/contract/store-keys.js';
import { sha256Hex } from '../../src/storage/hashing.js';
import { Rig } from '../support/rig.js';
import { flipByte } from '../support/run-files.js';
import { REPOSITORY } from '../support/small-run.js';
import { until, within } from '../support/until.js';

const ITERATIONS = 40;
const EVERY = 10;
const LIMIT_MS = 60_000;
const SHARD = 'mp_gpt_rank_00/model_optim_rng.pt';
const MANIFEST = 'manifest.json';

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

/** Lets a training go on to an iteration, and resolves when that is committed: in this generation for the first time. */
async function commitAt(runId: string, ...iterations: readonly number[]): Promise<void> {
  for (const iteration of iterations) {
    await rig.hold(iteration);
    await until(`iteration ${String(iteration)} of ${runId} is committed`, LIMIT_MS, async () => {
      const log = await rig.log(runId);
      const last = log.findLast((fact) => fact.fact === 'open')?.generation;
      const is = (fact: (typeof log)[number]): boolean =>
        fact.fact === 'commit' && fact.generation === last && fact.iteration === iteration;
      return log.some(is) || undefined;
    });
  }
}

const fileOf = (runId: string, iteration: number, name: string): string =>
  join(rig.root, 'store', checkpointPrefix(runId, 1, iteration), name);

/** What lies under a prefix of the store: keys with the digests of their bytes. */
async function contentOf(prefix: string): Promise<Readonly<Record<string, string>>> {
  const content: Record<string, string> = {};
  for await (const { key } of rig.store.list(prefix)) content[key] = sha256Hex((await rig.store.read(key)) ?? '');
  return content;
}

async function checkpointsOf(runId: string): Promise<readonly string[]> {
  const keys = Object.keys(await contentOf(checkpointsFolder(runId)));
  return [...new Set(keys.map((key) => key.slice(checkpointsFolder(runId).length).split('/').slice(0, 2).join('/')))];
}

type Damage = readonly [iteration: number, name: string, act: (path: string) => Promise<void>];
const cut = (path: string): Promise<void> => truncate(path, 7);

test.each<{ what: string; keep: number; damages: readonly Damage[]; then: number; history: readonly string[] }>([
  {
    what: 'one, by a flipped byte of a shard',
    keep: 2,
    damages: [[30, SHARD, flipByte]],
    then: 20,
    history: ['drop 10', 'open 2', 'drop 30', 'open 3', 'commit 30', 'commit 40', 'drop 20'],
  },
  {
    what: 'two in a row, by a missing shard and a missing manifest',
    keep: 3,
    damages: [
      [30, SHARD, (path) => rm(path)],
      [20, MANIFEST, (path) => rm(path)],
    ],
    then: 10,
    history: ['open 2', 'drop 30', 'open 3', 'drop 20', 'open 4', 'commit 20', 'commit 30', 'commit 40', 'drop 10'],
  },
  {
    what: 'all, by a cut shard and a flipped byte of a manifest: training starts from the converted model',
    keep: 2,
    damages: [
      [30, SHARD, cut],
      [20, MANIFEST, flipByte],
    ],
    then: 0,
    history: [
      ...['drop 10', 'open 2', 'drop 30', 'open 3', 'drop 20', 'open 4', 'commit 10', 'commit 20', 'commit 30'],
      ...['drop 10', 'commit 40', 'drop 20'],
    ],
  },
])('damaged commits are dropped as they are restored, and the cost is told: $what', async (row) => {
  const runId = `damaged-to-${String(row.then)}`;
  await rig.hold(10);
  const run = await rig.train(runId, { iterations: ITERATIONS, every: EVERY, keep: row.keep });
  await commitAt(runId, 10, 20, 30);
  for (const [iteration, name, act] of row.damages) await act(fileOf(runId, iteration, name));
  // A survivor would go on from what it has itself, and never see the damage.
  for (const { dir } of await rig.nodes(runId)) await rm(join(dir, 'save', 'iter_0000030'), { recursive: true });
  // Five iterations more, which the death of a rank costs; then a new generation finds what there is.
  await rig.hold(35);
  const nodes = await rig.nodes(runId);
  await until('iteration 35 is done', LIMIT_MS, async () => (await rig.printed(nodes[1])).includes(35) || undefined);
  await rig.hold(row.then + EVERY);
  process.kill(nodes[1].trainer, 'SIGKILL');
  const generation = row.damages.length + 2;
  await rig.logged(runId, `open ${String(generation)}`);
  for (let iteration = row.then + EVERY; iteration < ITERATIONS; iteration += EVERY) await commitAt(runId, iteration);
  await rig.hold();
  const result = await within('the training ends', LIMIT_MS, run.result());

  expect(digestOf(result)).toBe(undisturbed);
  expect(await rig.history(runId)).toEqual(['open 1', 'commit 10', 'commit 20', 'commit 30', ...row.history]);
  const { incidents } = await rig.gang(runId);
  const costs = row.damages.map(([iteration], index) => iteration - (row.damages[index + 1]?.[0] ?? row.then));
  expect(incidents.map(({ failure, iterationsLost }) => [failure, iterationsLost])).toEqual([
    ['TrainerFailed', 5],
    ...costs.map((cost) => ['CheckpointDamaged', cost]),
  ]);
  for (const [index, [iteration, name]] of row.damages.entries()) {
    const line = showEvent({ type: 'incident', ...incidents[index + 1]! });
    expect(line).toContain(name);
    expect(line).toContain(`Drops the damaged commit of iteration ${String(iteration)}`);
    expect(line).toContain(`${String(costs[index])} iterations lost`);
  }
  // Those that are too old are gone; the damaged ones stay to be looked at.
  expect(await checkpointsOf(runId)).toEqual([
    ...row.damages.map(([iteration]) => `g1/iter_${String(iteration).padStart(7, '0')}`).sort(),
    ...[20, 30, 40]
      .slice(-row.keep)
      .map((iteration) => `g${String(generation)}/iter_${String(iteration).padStart(7, '0')}`),
  ]);
});

/** Of the other writes: `test/conformance/frozen-worker.test.ts`. This one shows that Temporal gives the work of a frozen worker to another one. */
test('a control worker that is frozen as it commits, and thawed a generation later, changes nothing', async () => {
  const runId = 'frozen';
  await rig.kill('worker');
  // open 1, commit 10, commit 20: the commit of iteration 20 is the third fact.
  const freezing = join(REPOSITORY, 'test/support/freezing-worker.mjs');
  await rig.startWorker('freezer', freezing, `${runLogPrefix(runId)}000003.json`);
  await rig.hold(10);
  const run = await rig.train(runId, { iterations: ITERATIONS, every: EVERY });
  await commitAt(runId, 10);
  await rig.hold(20);
  await until('the worker freezes', LIMIT_MS, () => rig.said('freezer').includes('freezes') || undefined);
  await rig.startWorker('worker');
  await commitAt(runId, 20, 30);
  process.kill((await rig.nodes(runId))[0].trainer, 'SIGKILL');
  await rig.nodes(runId, 2);
  await until(
    'the oldest commit is deleted',
    LIMIT_MS,
    async () => (await checkpointsOf(runId)).length === 2 || undefined,
  );
  const before = [await contentOf(runLogPrefix(runId)), await contentOf(checkpointsFolder(runId))];

  rig.signal('freezer', 'SIGCONT');
  await until('the worker is thawed', LIMIT_MS, () => rig.said('freezer').includes('thawed') || undefined);
  expect(rig.said('freezer')).toContain('thawed: was there');
  expect([await contentOf(runLogPrefix(runId)), await contentOf(checkpointsFolder(runId))]).toEqual(before);
  await rig.hold();
  expect(digestOf(await within('the training ends', LIMIT_MS, run.result()))).toBe(undisturbed);
  expect((await rig.history(runId)).filter((word) => word.startsWith('open'))).toEqual(['open 1', 'open 2']);
  await rig.kill('freezer');
});

/**
 * A run begins again on another host: who stays takes its shards from its own disk, who is new downloads its ranks' and no more. What
 * makes it begin again is a host whose trainer makes a NaN; a learning rate that makes one everywhere ends the run. The real trainer.
 */
import { copyFile, mkdir, readFile, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RunFailedError, type RunHandle } from '../../src/client/index.js';
import { restoredFrom } from '../../src/plan/numbers.js';
import { parseManifest } from '../../src/storage/manifest.js';
import { DevCluster } from '../support/dev-cluster.js';
import { startOwnAgent } from '../support/own-agent.js';
import { commitsOf, filesBelow, readLog, readPlan } from '../support/run-files.js';
import { RUNTIME_BIN, smallSpec, TRAINER_HOME, writeDigits } from '../support/small-run.js';
import { trainerFolder } from '../support/trainers.js';
import { within } from '../support/until.js';

/** Sorts before the others, so that it is node 0 of the first gang: the vision tower. */
const BAD = 'bad-host';
const LIMIT_MS = 180_000;

let cluster: DevCluster;
let spec: ReturnType<typeof smallSpec>;
let endAgent: () => Promise<void>;

beforeAll(async () => {
  cluster = await DevCluster.start({ agents: 2 });
  const home = join(cluster.root, 'nan-trainer');
  await mkdir(home);
  await symlink(join(TRAINER_HOME, 'anneal_trainer'), join(home, 'anneal_trainer'));
  await copyFile(join(import.meta.dirname, '../support/nan_trainer.py'), join(home, 'pretrain_internvl.py'));
  const data = join(cluster.root, 'data');
  [endAgent] = await Promise.all([startOwnAgent(cluster, BAD, RUNTIME_BIN, home), writeDigits(data)]);
  spec = smallSpec({ data, iterations: 30 });
});

afterAll(async () => {
  await endAgent();
  expect(await cluster.stop()).toEqual([]);
});

async function endOf(run: RunHandle): Promise<unknown> {
  const ending = run.result().catch((error: unknown) => error);
  return within(`run ${run.runId} ends`, LIMIT_MS, ending);
}

/** The losses of a node's trainer, exact, by iteration. */
async function lossesOf(host: string, generation: number): Promise<ReadonlyMap<number, string>> {
  const file = join(trainerFolder(cluster, host, 'nan', generation, 1), 'metrics.jsonl');
  const lines = (await readFile(file, 'utf8')).trim().split('\n');
  return new Map(
    lines.map((line) => {
      const { iteration, loss } = JSON.parse(line) as { iteration: number; loss: string };
      return [iteration, loss];
    }),
  );
}

test('a host that makes a NaN is left out, the others go on from the commit before it, and it is cordoned', async () => {
  const run = await cluster.anneal.runs.start(
    { ...spec, checkpoint: { everyIterations: 10, keep: 3 } },
    { key: 'nan' },
  );
  expect(await endOf(run)).toMatchObject({ outcome: 'promoted' });

  const facts = (await readLog(cluster, 'nan')).map((fact) => [
    fact.fact,
    fact.fact === 'open' ? fact.hosts : fact.iteration,
  ]);
  expect(facts).toEqual([
    ['open', [BAD, 'host-a']],
    ['commit', 10],
    ['open', ['host-b', 'host-a']],
    ['commit', 20],
    ['commit', 30],
  ]);
  const [incident, ...others] = (await run.state())?.gang?.incidents ?? [];
  expect(others).toEqual([]);
  expect(incident).toMatchObject({ generation: 1, host: BAD, failure: 'LossDiverged', iterationsLost: 4 });
  expect(incident?.message).toContain('no longer a number at iteration 15');

  // Counted: the survivor's part came from its own disk, the newcomer's from the store, and nobody has moved anything else.
  const plan = await readPlan(cluster, 'nan');
  const [commit] = await commitsOf(cluster, 'nan');
  const manifest = parseManifest(
    await readFile(join(cluster.storeFolder, commit!.checkpoint.manifestKey), 'utf8'),
    'it',
  );
  const bytesOf = (nodeRank: number): number => {
    const read = plan.gang.checkpointFiles.filter(({ readBy }) => readBy.includes(nodeRank)).map(({ path }) => path);
    return manifest.files.filter(({ path }) => read.includes(path)).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  };
  const restored = { localBytes: bytesOf(1), downloadedBytes: bytesOf(0) };
  expect(restored.localBytes + restored.downloadedBytes).toBe(manifest.totalBytes);
  expect(incident?.restored).toEqual(restored);
  const { stdout } = await cluster.cli('watch', 'nan');
  expect(stdout).toContain(restoredFrom(restored));
  expect(await filesBelow(join(trainerFolder(cluster, 'host-a', 'nan', 1, 1), 'save'))).toEqual([]);

  // What was trained twice was trained to the same bits.
  const [first, second] = [await lossesOf('host-a', 1), await lossesOf('host-a', 2)];
  const twice = [11, 12, 13, 14];
  expect([...first.keys()].slice(-4)).toEqual(twice);
  expect(twice.map((iteration) => second.get(iteration))).toEqual(twice.map((iteration) => first.get(iteration)));

  const bad = (await cluster.anneal.hosts.list()).find(({ facts: { name } }) => name === BAD);
  expect(bad?.cordon).toMatchObject({ until: null, metBy: 'run/nan/train' });
  expect(bad?.cordon?.reason).toMatch(
    /LossDiverged: it made the loss .* of iteration 15 .* host-b, host-a got past that/,
  );
});

test('a learning rate that makes a NaN everywhere ends the run with both losses, hosts and what to do', async () => {
  const training = { ...spec.training, learningRate: 1e30, warmupIterations: 0 };
  const run = await cluster.anneal.runs.start({ ...spec, training }, { key: 'again' });
  const failed = await endOf(run);
  if (!(failed instanceof RunFailedError)) throw new Error(`The run has not failed: ${String(failed)}`);
  expect(failed.message).toMatch(
    /The loss is no number again.*in generation 1 on host-a, host-b.*in generation 2 on host-a, host-b.*Lower training\.learningRate/,
  );
  expect((await readLog(cluster, 'again')).map(({ fact, generation }) => `${fact} ${String(generation)}`)).toEqual([
    'open 1',
    'open 2',
  ]);
  const hosts = await cluster.anneal.hosts.list();
  expect(hosts.filter(({ cordon }) => cordon !== null).map(({ facts: { name } }) => name)).toEqual([BAD]);
});

/**
 * Adapters through the whole chain, on real parts: a rank is killed between two saves, the next generation goes on from adapters beside
 * their base, in the same bits, and what is published is one whole model that differs from the base in the target layers alone.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { RunHandle } from '../../src/client/index.js';
import type { RunSpecInput } from '../../src/spec/run.js';
import { DevCluster } from '../support/dev-cluster.js';
import { commitsOf, madeBy, readLog } from '../support/run-files.js';
import { BASE_MODEL, python, smallSpec, writeDigits } from '../support/small-run.js';
import { trainerFolder, trainersOf } from '../support/trainers.js';
import { until, within } from '../support/until.js';

const LIMIT_MS = 180_000;
const RUN = 'adapted';
const EVERY = 10;

let cluster: DevCluster;
let spec: RunSpecInput;

beforeAll(async () => {
  cluster = await DevCluster.start({ agents: 2 });
  const data = join(cluster.root, 'data');
  await writeDigits(data);
  const small = smallSpec({ data, iterations: 60 });
  spec = {
    ...small,
    checkpoint: { everyIterations: EVERY },
    model: { ...small.model, lora: { rank: 4, alpha: 8, targets: ['linear_qkv', 'linear_fc2'] } },
  };
});

afterAll(async () => {
  expect(await cluster.stop()).toEqual([]);
});

/** What the reporting node of a generation has measured, exact, by iteration. */
async function lossesOf(generation: number): Promise<ReadonlyMap<number, string>> {
  const found = new Map<number, string>();
  for (const host of cluster.hosts) {
    const file = join(trainerFolder(cluster, host, RUN, generation, 1), 'metrics.jsonl');
    const text = await readFile(file, 'utf8').catch(() => '');
    for (const line of text.split('\n').filter((one) => one.endsWith('}'))) {
      const { iteration, loss } = JSON.parse(line) as { iteration: number; loss: string };
      found.set(iteration, loss);
    }
  }
  return found;
}

/** Behind a save, so that there is something to train twice. */
async function killBetweenSaves({ runId }: RunHandle): Promise<void> {
  const trainers = await until('both nodes train', LIMIT_MS, () => trainersOf(cluster, runId, 1));
  await until('adapters are committed, and a rank is behind a save', LIMIT_MS, async () => {
    const commits = await commitsOf(cluster, runId).catch(() => []);
    const reached = Math.max(0, ...(await lossesOf(1)).keys());
    return (commits.length > 0 && reached % EVERY > 1) || undefined;
  });
  for (const { nodeRank, rank } of trainers) if (nodeRank === 1) process.kill(rank, 'SIGKILL');
}

test('a killed rank costs iterations, never bits, and the result is one model', async () => {
  const run = await cluster.anneal.runs.start(spec, { key: RUN });
  await killBetweenSaves(run);
  const result = await within('the run ends', LIMIT_MS, run.result());
  expect(result.outcome).toBe('promoted');

  const opened = (await readLog(cluster, RUN)).filter(({ fact }) => fact === 'open');
  expect(opened).toHaveLength(2);
  const [from] = await commitsOf(cluster, RUN);
  expect(from?.generation).toBe(1);

  // What was trained twice was trained to the same bits.
  const [before, after] = [await lossesOf(1), await lossesOf(2)];
  const twice = [...before.keys()].filter((iteration) => after.has(iteration));
  expect(twice.length).toBeGreaterThan(0);
  expect(twice.map((iteration) => after.get(iteration))).toEqual(twice.map((iteration) => before.get(iteration)));

  // Both hosts stayed, so the base beside the adapters came from their own disks too.
  const [incident] = (await run.state())?.gang?.incidents ?? [];
  expect(incident?.restored?.downloadedBytes).toBe(0);
  expect([await namesBase(1, 0), await namesBase(1, 1)]).toEqual([false, false]);
  expect([await namesBase(2, 0), await namesBase(2, 1)]).toEqual([true, true]);

  // Adapters alone were saved: of the base every tensor but those of the target layers is in the result as it was.
  const published = await madeBy(cluster, RUN, 'published');
  const changed = JSON.parse(
    await python('-c', DIFFERENT, join(BASE_MODEL, 'model.safetensors'), join(published.folder, 'model.safetensors')),
  ) as string[];
  expect(changed.length).toBeGreaterThan(0);
  for (const name of changed) expect(name).toMatch(/(qkv|[qkv]_proj|fc2|down_proj|mlp1\.3)\.weight$/);
});

/** Whether the launch of a node names the base model; its folder is then the one that was staged. */
async function namesBase(generation: number, nodeRank: number): Promise<boolean> {
  for (const host of cluster.hosts) {
    const dir = trainerFolder(cluster, host, RUN, generation, nodeRank);
    const text = await readFile(join(dir, 'launch.json'), 'utf8').catch(() => undefined);
    if (text === undefined) continue;
    const { argv } = JSON.parse(text) as { argv: string[] };
    const at = argv.indexOf('--load-base-model');
    if (at >= 0) expect(argv[at + 1]).toBe(join(dir, 'base'));
    return at >= 0;
  }
  throw new Error(`No host has launched node ${String(nodeRank)} of generation ${String(generation)}.`);
}

const DIFFERENT = `
import json, sys
import torch
from safetensors.torch import load_file
before, after = (load_file(path) for path in sys.argv[1:])
assert before.keys() == after.keys()
print(json.dumps([name for name in before if not torch.equal(before[name], after[name])]))
`;

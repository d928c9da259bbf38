/**
 * One training that first hangs and then loses a host: both are told apart within seconds, with the stacks of all ranks in the run's logs,
 * and the weights are those of a run that nobody disturbed.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Incident, RunHandle } from '../../src/client/index.js';
import { logPrefix } from '../../src/contract/store-keys.js';
import { FolderStore } from '../../src/storage/folder-store.js';
import { readChunks } from '../../src/storage/chunks.js';
import { DevCluster } from '../support/dev-cluster.js';
import { commitsOf, forget, filesBelow } from '../support/run-files.js';
import { withTemporal } from '../support/run-history.js';
import { REPOSITORY, smallSpec, writeDigits } from '../support/small-run.js';
import { trainersOf } from '../support/trainers.js';
import { until, within } from '../support/until.js';

const ITERATIONS = 100;
const LIMIT_MS = 240_000;

let cluster: DevCluster;
let spec: ReturnType<typeof smallSpec>;
beforeAll(async () => {
  cluster = await DevCluster.start({ agents: 3 });
  const data = join(cluster.root, 'data');
  await writeDigits(data);
  spec = smallSpec({ data, iterations: ITERATIONS });
});
afterAll(async () => {
  expect(await cluster.stop()).toEqual([]);
});

/** The trainers of a generation, once it has committed something. */
async function trainersWithCommit({ runId }: RunHandle, generation: number) {
  const trainers = await until(`generation ${String(generation)} trains`, LIMIT_MS, () =>
    trainersOf(cluster, runId, generation),
  );
  await until(`generation ${String(generation)} has committed`, LIMIT_MS, async () =>
    (await commitsOf(cluster, runId)).find((commit) => commit.generation === generation),
  );
  return trainers;
}

async function logOf({ runId }: RunHandle, name: string): Promise<string> {
  return Buffer.concat([
    ...(await readChunks(new FolderStore(cluster.storeFolder), logPrefix(runId, name))),
  ]).toString();
}

test('a rank that is stopped is a hang, and a host that answers nobody is lost: both go on to the undisturbed weights', async () => {
  const calm = await within(
    'the undisturbed run ends',
    LIMIT_MS,
    (await cluster.anneal.runs.start(spec, { key: 'calm' })).result(),
  );
  for (const artifact of ['checkpoint', 'published', 'evaluation'] as const) await forget(cluster, artifact);

  const limits = { iterationSeconds: 6, saveSeconds: 15 };
  const run = await cluster.anneal.runs.start({ ...spec, limits }, { key: 'detected' });
  const [stopped] = await trainersWithCommit(run, 1);
  process.kill(stopped!.rank, 'SIGSTOP');

  // The agent is frozen, so that nobody starts another one; the rest of the host dies, as in a loss of power.
  const lost = (await trainersWithCommit(run, 2)).find(({ nodeRank }) => nodeRank === 1)!;
  const agent = cluster.pidOf(lost.host);
  process.kill(agent, 'SIGSTOP');
  process.kill(lost.supervisor, 'SIGKILL');
  try {
    await until('the next generation trains', LIMIT_MS, async () =>
      (await commitsOf(cluster, run.runId)).find(({ generation }) => generation === 3),
    );
  } finally {
    process.kill(agent, 'SIGCONT');
  }
  const result = await within('the run ends', LIMIT_MS, run.result());
  expect(result.weightsDigest).toBe(calm.weightsDigest);

  const incidents = await run.incidents();
  expect(incidents).toMatchObject([
    { generation: 1, host: stopped!.host, failure: 'Hung' },
    { generation: 2, host: lost.host, failure: 'HostLost' },
  ]);
  const [hung, hostLost] = incidents as [Incident, Incident];
  console.log(JSON.stringify({ hung, hostLost }));
  expect(hung.message).toContain('Rank 0 is stopped.');
  expect(hung.secondsToDetect).toBeGreaterThan(limits.iterationSeconds - 1);
  expect(hung.secondsToDetect).toBeLessThan(limits.saveSeconds + 10);
  // Well below what a heartbeat and a second attach would take: 20 and 60 seconds.
  expect(hostLost.secondsToDetect! + hostLost.secondsToDecide!).toBeLessThan(30);
  for (const { secondsToNewIteration } of incidents) expect(secondsToNewIteration).toBeGreaterThan(0);

  // py-spy reads a stopped process from outside, where it is installed and may; nothing else can.
  expect(await logOf(run, 'train-g1-node0')).toMatch(
    /\[anneal\] stacks of rank 0 \(pid \d+, stopped\)(, by py-spy:\n.*Thread|: none: .*it is stopped, so it cannot answer SIGUSR1)/,
  );
  expect(await logOf(run, 'train-g1-node1')).toMatch(
    /\[anneal\] stacks of rank 1 \(pid \d+, \w+\), by (py-spy|faulthandler)[^]*anneal_trainer/,
  );

  // What the hosts knew is in the store; the host that was lost has brought nothing.
  const evidenceOf = (incident: Incident) => filesBelow(join(cluster.storeFolder, incident.evidence!.slice(0, -1)));
  expect(hung.evidence).toBe(`runs/${run.runId}/incidents/000001/`);
  const ofEach = [
    'doctor.json',
    'exit.json',
    'index.json',
    'kernel.log',
    'launch.json',
    'stacks.log',
    'supervisor.log',
    'trainer.log',
  ];
  // What a host finds of itself follows, and nothing waits for it.
  await until('both hosts have told what they find', LIMIT_MS, async () =>
    (await evidenceOf(hung)).filter((name) => name.endsWith('/doctor.json')).length === 2 ? true : undefined,
  );
  expect(await evidenceOf(hung)).toEqual(
    [0, 1].flatMap((node) => ofEach.map((name) => `node-${String(node)}/${name}`)),
  );
  expect((await evidenceOf(hostLost)).every((name) => name.startsWith('node-0/'))).toBe(true);

  const record = await readFile(join(cluster.storeFolder, 'runs', run.runId, 'incidents.jsonl'), 'utf8');
  expect(
    record
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as unknown),
  ).toEqual(incidents);
  const metrics = await (await fetch(cluster.state.metricsUrl ?? '')).text();
  for (const failure of ['Hung', 'HostLost']) {
    expect(metrics).toMatch(new RegExp(`^anneal_incidents_total{.*failure="${failure}".*} 1$`, 'm'));
    expect(metrics).toMatch(
      new RegExp(`^anneal_incident_to_new_iteration_seconds_count{.*failure="${failure}".*} 1$`, 'm'),
    );
  }
  for (const file of ['alerts.yaml', 'grafana-board.json']) {
    const text = await readFile(join(REPOSITORY, 'infra/monitoring', file), 'utf8');
    for (const [name] of text.matchAll(/\b(anneal|temporal)_\w+/g))
      expect(metrics, file).toMatch(new RegExp(`^${name}{`, 'm'));
  }
  await until('the run is found by its failures', LIMIT_MS, () =>
    withTemporal(cluster.state.address, async (client) => {
      const { count } = await client.workflow.count(`AnnealRun = '${run.runId}' AND AnnealFailures IN ('HostLost')`);
      return count > 0 ? true : undefined;
    }),
  );
});

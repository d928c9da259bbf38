/**
 * A host is frozen with its agent, its supervisor and its trainer past all time-outs, and comes back: by then another host has its
 * place, and whatever the thawed one still does changes nothing. It is proven empty before anybody gets it again.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { HostFence, readFence } from '../../src/activities/host/fence.js';
import { hostLockFile } from '../../src/activities/host/work-folders.js';
import type { FineTuneResult, HostView, RunHandle } from '../../src/client/index.js';
import { hostStatus } from '../../src/plan/hosts.js';
import { isLockFree } from '../../src/process/host-lock.js';
import { processTable, readProcess } from '../../src/process/proc.js';
import { annealCommand, DevCluster } from '../support/dev-cluster.js';
import { withTemporal } from '../support/run-history.js';
import { commitsOf, forget, readLog } from '../support/run-files.js';
import { smallSpec, writeDigits } from '../support/small-run.js';
import { trainersOf } from '../support/trainers.js';
import { until, within } from '../support/until.js';

const FROZEN = 'host-a';
const LIMIT_MS = 240_000;

let cluster: DevCluster;
let spec: ReturnType<typeof smallSpec>;

beforeAll(async () => {
  cluster = await DevCluster.start({ agents: 3 });
  await hurry();
  const data = join(cluster.root, 'data');
  await writeDigits(data);
  spec = smallSpec({ data, iterations: 120 });
});
afterAll(async () => {
  expect(await cluster.stop()).toEqual([]);
});

/** Time-outs of seconds, so that a frozen host is given up soon; the dev starts the worker again with these settings. */
async function hurry(): Promise<void> {
  const file = join(cluster.stateDir, 'worker.yaml');
  const settings = parse(await readFile(file, 'utf8')) as Record<string, unknown>;
  await writeFile(file, stringify({ ...settings, timing: { heartbeatSeconds: 5, attachSeconds: 5 } }));
  const before = cluster.pidOf('worker');
  process.kill(before, 'SIGKILL');
  await until('the control worker has started again', LIMIT_MS, () => {
    const found = cluster.state.children.find(({ name }) => name === 'worker');
    return found !== undefined && found.pid !== before ? true : undefined;
  });
}

async function hostOf(name: string): Promise<HostView> {
  const found = (await cluster.anneal.hosts.list()).find(({ facts }) => facts.name === name);
  if (found === undefined) throw new Error(`The pool has no host ${name}.`);
  return found;
}

async function endOf(run: RunHandle): Promise<FineTuneResult> {
  return within(`run ${run.runId} ends`, LIMIT_MS, run.result());
}

/** A process and all that it has started, whatever session they are in. */
function treeOf(root: number): readonly number[] {
  const table = [...processTable().values()];
  const below = (pid: number): number[] => [
    pid,
    ...table.filter(({ ppid }) => ppid === pid).flatMap((row) => below(row.pid)),
  ];
  return below(root);
}

/** How often an agent of this name has made itself known to the pool. */
async function registrationsOf(name: string): Promise<number> {
  return withTemporal(cluster.state.address, async (client) => {
    const { events } = await client.workflow.getHandle('pool/dev').fetchHistory();
    const asked = (events ?? []).map(({ workflowExecutionUpdateAcceptedEventAttributes: update }) =>
      Buffer.from(update?.acceptedRequest?.input?.args?.payloads?.[0]?.data ?? []).toString(),
    );
    return asked.filter((facts) => facts.includes(`"name":"${name}"`)).length;
  });
}

test('a second agent of a name is refused with the sentence of the pool, and ends', async () => {
  const settings = parse(await readFile(join(cluster.stateDir, 'hosts', 'host-b', 'agent.yaml'), 'utf8')) as object;
  const file = join(cluster.root, 'second.yaml');
  await writeFile(file, stringify({ ...settings, workRoot: join(cluster.root, 'second') }));
  const { code, stderr } = await annealCommand('agent', '--config', file);
  expect(stderr).toContain('The host name "host-b" is taken: an agent with another work root lives under it');
  expect(code).toBe(1);
});

test('a frozen host changes nothing when it thaws, and is proven empty before it is granted again', async () => {
  const undisturbed = await endOf(await cluster.anneal.runs.start(spec, { key: 'undisturbed' }));
  for (const artifact of ['checkpoint', 'published', 'evaluation'] as const)
    expect(await forget(cluster, artifact)).toBe(1);

  const run = await cluster.anneal.runs.start(spec, { key: 'frozen' });
  const trainers = await until('both trainers have started', LIMIT_MS, () => trainersOf(cluster, run.runId, 1));
  await until('a checkpoint is committed', LIMIT_MS, async () => (await commitsOf(cluster, run.runId))[0]);
  const { supervisor, dir } = trainers.find(({ host }) => host === FROZEN)!;
  const leased = await hostOf(FROZEN);
  expect(leased).toMatchObject({ live: true, owner: { workflowId: `run/${run.runId}/train`, generation: 1 } });
  const frozen = [cluster.pidOf(FROZEN), ...treeOf(supervisor)];
  const registrations = await registrationsOf(FROZEN);
  for (const pid of frozen) process.kill(pid, 'SIGSTOP');

  const reopened = await until('the next generation is open', LIMIT_MS, async () =>
    (await readLog(cluster, run.runId)).find((fact) => fact.fact === 'open' && fact.generation === 2),
  );
  expect(reopened).toMatchObject({ hosts: ['host-c', 'host-b'] });
  const givenUp = await hostOf(FROZEN);
  expect([givenUp.live, hostStatus(givenUp), givenUp.fence > leased.fence]).toEqual([false, 'vacating', true]);
  expect((await readFence(cluster.workRoot(FROZEN))).fence).toBe(leased.fence);
  expect(frozen.filter((pid) => readProcess(pid) === undefined)).toEqual([]);

  for (const pid of frozen) process.kill(pid, 'SIGCONT');
  const back = await until('the thawed host is free again', LIMIT_MS, async () => {
    const host = await hostOf(FROZEN);
    return host.live && hostStatus(host) === 'free' ? host : undefined;
  });
  // Its fence was stored before anything was stopped, and nothing of the old lease is left or can begin.
  const fence = await readFence(cluster.workRoot(FROZEN));
  expect(fence).toEqual({ fence: back.fence, lease: null });
  expect(frozen.slice(1).filter((pid) => readProcess(pid) !== undefined)).toEqual([]);
  expect(await isLockFree(hostLockFile(cluster.workRoot(FROZEN)))).toBe(true);
  const late = new HostFence(cluster.workRoot(FROZEN), FROZEN).starting(leased.fence, () => Promise.resolve());
  await expect(late).rejects.toMatchObject({ type: 'StaleGeneration' });
  expect(cluster.pidOf(FROZEN)).toBe(frozen[0]);
  await until('the thawed agent has registered again', LIMIT_MS, async () =>
    (await registrationsOf(FROZEN)) > registrations ? true : undefined,
  );

  const result = await endOf(run);
  expect(result.weightsDigest).toBe(undisturbed.weightsDigest);
  const log = await readLog(cluster, run.runId);
  const since = log.slice(log.findIndex((fact) => fact.fact === 'open' && fact.generation === 2));
  const commits = since.filter(({ fact }) => fact === 'commit');
  expect(new Set(commits.map(({ generation }) => generation))).toEqual(new Set([2]));
  expect(await readFile(join(dir, 'exit.json'), 'utf8')).toContain('"reason"');
});

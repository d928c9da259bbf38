/**
 * Any one process of a training is killed, and the run ends by itself in the same bits. Each test trains the same spec anew on the
 * same cluster: what an undisturbed run came to is the measure.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { FineTuneResult, RunEvent, RunHandle } from '../../src/client/index.js';
import { readProcess } from '../../src/process/proc.js';
import { DevCluster } from '../support/dev-cluster.js';
import { activitiesOf } from '../support/run-history.js';
import { commitsOf, forget, readLog } from '../support/run-files.js';
import { smallSpec, writeDigits } from '../support/small-run.js';
import { trainersOf, type Trainer } from '../support/trainers.js';
import { until, within } from '../support/until.js';

const EVERY = 10;
/** Long enough that an agent has come back before the end, also on a busy machine. */
const ITERATIONS = 80;
const LIMIT_MS = 240_000;

let cluster: DevCluster;
let spec: ReturnType<typeof smallSpec>;
let undisturbed: FineTuneResult;

beforeAll(async () => {
  cluster = await DevCluster.start({ agents: 2 });
  const data = join(cluster.root, 'data');
  await writeDigits(data);
  spec = smallSpec({ data, iterations: ITERATIONS });
  const run = await cluster.anneal.runs.start(spec, { key: 'undisturbed' });
  undisturbed = await within('the undisturbed run ends', LIMIT_MS, run.result());
});

afterAll(async () => {
  expect(await cluster.stop()).toEqual([]);
});

// What comes after the training is forgotten too, so that the digest is that of the weights which the test itself has trained.
beforeEach(async () => {
  for (const artifact of ['checkpoint', 'published', 'evaluation'] as const)
    expect(await forget(cluster, artifact)).toBe(1);
});

/** The trainers of the first generation, once the gang has done its first iteration. */
async function training(runId: string): Promise<readonly [Trainer, Trainer]> {
  const found = await until(`run ${runId} has started its trainers`, LIMIT_MS, () => trainersOf(cluster, runId, 1));
  await until(`run ${runId} trains`, LIMIT_MS, async () => (await iterationsOf(found[1]!)) > 0 || undefined);
  return found as readonly [Trainer, Trainer];
}

/** How far a trainer came by its own measurements. */
async function iterationsOf({ dir }: Trainer): Promise<number> {
  const text = await readFile(join(dir, 'metrics.jsonl'), 'utf8').catch(() => '');
  // The last line may be half written.
  return text.split('\n').length - 1;
}

async function eventsOf(run: RunHandle): Promise<readonly RunEvent[]> {
  const events: RunEvent[] = [];
  for await (const event of run.watch({ pollMs: 200, signal: AbortSignal.timeout(LIMIT_MS) })) events.push(event);
  return events;
}

/** The run's end, its stages and its incidents. */
async function endOf(run: RunHandle): Promise<{ result: FineTuneResult; incidents: readonly RunEvent[] }> {
  const events = await eventsOf(run);
  return { result: await run.result(), incidents: events.filter(({ type }) => type === 'incident') };
}

const isStill = (pid: number, start: number | undefined): boolean =>
  start !== undefined && readProcess(pid)?.start === start;

async function generationsOf(runId: string): Promise<readonly number[]> {
  return (await readLog(cluster, runId)).flatMap((fact) => (fact.fact === 'open' ? [fact.generation] : []));
}

describe('a training ends in the same bits', () => {
  test('when one of its ranks is killed: a new generation goes on from the last save', async () => {
    const run = await cluster.anneal.runs.start(spec, { key: 'rank-killed' });
    const [, language] = await training(run.runId);
    await until('a first checkpoint is committed', LIMIT_MS, async () => (await commitsOf(cluster, run.runId))[0]);
    process.kill(language.rank, 'SIGKILL');
    const reached = until('the killed trainer is gone', LIMIT_MS, () =>
      readProcess(language.launcher) === undefined ? true : undefined,
    ).then(() => iterationsOf(language));
    const { result, incidents } = await endOf(run);

    expect(result.weightsDigest).toBe(undisturbed.weightsDigest);
    expect(result.stages.find(({ stage }) => stage === 'train')?.status).toBe('done');
    const opened = (await readLog(cluster, run.runId)).flatMap((fact) => (fact.fact === 'open' ? [fact] : []));
    expect(opened.map(({ generation }) => generation)).toEqual([1, 2]);
    const lost = (await reached) - opened[1]!.fromIteration;
    expect(opened[1]!.fromIteration).toBeGreaterThanOrEqual(EVERY);
    expect(lost).toBeGreaterThanOrEqual(0);
    expect(lost).toBeLessThanOrEqual(EVERY);
    expect(incidents).toHaveLength(1);
    expect(incidents[0]).toMatchObject({
      generation: 1,
      host: language.host,
      failure: 'TrainerFailed',
      iterationsLost: lost,
    });
  });

  test('when an agent is killed: the next one adopts the trainer, which does not notice', async () => {
    const run = await cluster.anneal.runs.start(spec, { key: 'agent-killed' });
    const before = await training(run.runId);
    const [{ host, rank, supervisor }] = before;
    const starts = [rank, supervisor].map((pid) => readProcess(pid)?.start);
    const agent = cluster.pidOf(host);
    process.kill(agent, 'SIGKILL');
    await until(`another agent of ${host} has registered`, LIMIT_MS, async () => {
      const found = (await cluster.anneal.hosts.list()).find(({ facts }) => facts.name === host);
      return found !== undefined && found.facts.agentPid !== agent ? true : undefined;
    });
    expect([isStill(rank, starts[0]), isStill(supervisor, starts[1])]).toEqual([true, true]);
    expect(cluster.said).toContain(`${host} was ended by SIGKILL`);
    const { result, incidents } = await endOf(run);

    expect(result.weightsDigest).toBe(undisturbed.weightsDigest);
    expect(incidents).toEqual([]);
    expect(await generationsOf(run.runId)).toEqual([1]);
    expect(await trainersOfEnded(run.runId)).toEqual(
      before.map(({ launcher, supervisor: keeper }) => [keeper, launcher]),
    );
    const asked = (await activitiesOf(cluster.state.address, `run/${run.runId}/train`)).filter(
      ({ type }) => type === 'trainRank',
    );
    expect(asked.filter(({ queue }) => queue === `npu/dev/${host}`)).toHaveLength(2);
    expect(asked).toHaveLength(3);
  });

  test('when the control worker is killed: the trainers go on, and their saves are committed by the next one', async () => {
    const run = await cluster.anneal.runs.start(spec, { key: 'worker-killed' });
    const before = await training(run.runId);
    const worker = cluster.pidOf('worker');
    process.kill(worker, 'SIGKILL');
    await until('another control worker is started', LIMIT_MS, () => {
      const found = cluster.state.children.find(({ name }) => name === 'worker');
      return found !== undefined && found.pid !== worker ? true : undefined;
    });
    expect(before.map(({ rank }) => readProcess(rank) !== undefined)).toEqual([true, true]);
    const { result, incidents } = await endOf(run);

    expect(result.weightsDigest).toBe(undisturbed.weightsDigest);
    expect(incidents).toEqual([]);
    expect(await generationsOf(run.runId)).toEqual([1]);
    expect((await commitsOf(cluster, run.runId)).at(-1)?.iteration).toBe(ITERATIONS);
  });
});

/** Supervisor and launcher of each node, as their own state files tell after the end. */
async function trainersOfEnded(runId: string): Promise<readonly (readonly number[])[]> {
  const rows: number[][] = [];
  for (const nodeRank of [0, 1])
    for (const host of ['host-a', 'host-b']) {
      const file = join(cluster.workRoot(host), 'trainers', runId, '1', String(nodeRank), 'state.json');
      const text = await readFile(file, 'utf8').catch(() => undefined);
      if (text === undefined) continue;
      const { pid, trainer } = JSON.parse(text) as { pid: number; trainer: number };
      rows.push([pid, trainer]);
    }
  return rows;
}

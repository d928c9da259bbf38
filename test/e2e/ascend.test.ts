/**
 * `runtime: ascend`, end to end, on executables that behave as those of an Ascend host do (`test/fixtures/ascend`): nothing here has run on
 * an NPU. One cluster of two hosts; each test plants one trap and asks for the verdict.
 */
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { FineTuneResult } from '../../src/client/index.js';
import type { RunSpecInput } from '../../src/spec/run.js';
import { ascendHost, ONE_CHIP } from '../fixtures/ascend/tools.js';
import { ascendRuntime, type AscendRuntime } from '../fixtures/ascend/runtime.js';
import { DevCluster } from '../support/dev-cluster.js';
import { startOwnAgent } from '../support/own-agent.js';
import { commitsOf, readLog } from '../support/run-files.js';
import { smallSpec, writeDigits } from '../support/small-run.js';
import { within } from '../support/until.js';

const HOSTS = ['npu-a', 'npu-b'];
const ITERATIONS = 20;
const RUN_LIMIT_MS = 300_000;

let cluster: DevCluster;
let runtime: AscendRuntime;
let spec: RunSpecInput;
let endAgents: readonly (() => Promise<void>)[];

beforeAll(async () => {
  cluster = await DevCluster.start({ agents: 0 });
  const data = join(cluster.root, 'data');
  [runtime] = await Promise.all([ascendRuntime(join(cluster.root, 'runtime')), writeDigits(data)]);
  endAgents = await Promise.all(
    HOSTS.map(async (host) => {
      const tools = join(cluster.root, 'tools', host);
      await mkdir(tools, { recursive: true });
      const { ascendHome: home } = await ascendHost(tools, ONE_CHIP);
      const more = { runtime: 'ascend' as const, ascend: { home, setEnv: [...runtime.setEnv] } };
      const path = `${tools}:${process.env['PATH'] ?? ''}`;
      return startOwnAgent(cluster, host, runtime.bin, runtime.trainerHome, more, path);
    }),
  );
  const small = smallSpec({ data, iterations: ITERATIONS });
  spec = {
    ...small,
    model: { ...small.model, trustRemoteCode: true },
    runtime: { kind: 'ascend', mindspeedRelease: '2.2.0' },
    // Twelve tiles and a thumbnail must fit.
    training: { ...small.training, sequenceLength: 64 },
  };
});

afterEach(() => runtime.trap());

afterAll(async () => {
  for (const end of endAgents) await end();
  expect(await cluster.stop()).toEqual([]);
});

async function run(key: string, changed: RunSpecInput = spec): Promise<FineTuneResult> {
  const handle = await cluster.anneal.runs.start(changed, { key });
  return within(`run ${key} ends`, RUN_LIMIT_MS, handle.result());
}

const dirOf = (host: string, runId: string, generation: number, nodeRank: number): string =>
  join(cluster.root, host, 'work', 'trainers', runId, String(generation), String(nodeRank));

describe('the chain once through', () => {
  test('the whole chain: converted, trained on both hosts, published, judged and promoted', async () => {
    const result = await run('once');
    expect(result.outcome).toBe('promoted');
    expect(result.stages.map(({ stage, status }) => `${stage} ${status}`)).toEqual(
      ['fetch', 'convert', 'prepare', 'train', 'publish', 'evaluate'].map((stage) => `${stage} done`),
    );
    // Iterations of milliseconds may overtake the look for the save at 10.
    expect((await commitsOf(cluster, 'once')).at(-1)?.iteration).toBe(ITERATIONS);
  });

  test('a trainer that writes no loss record: read out of the log of the rank that reports, each iteration once', async () => {
    const { rows } = await cluster.anneal.runs.get('once').metrics();
    expect(rows.map(({ iteration }) => iteration)).toEqual(Array.from({ length: ITERATIONS }, (_, index) => index + 1));
    for (const { loss, gradNorm, learningRate, seconds } of rows)
      expect([loss, gradNorm, learningRate, seconds].every(Number.isFinite)).toBe(true);
    const printed = await readFile(join(dirOf('npu-b', 'once', 1, 1), 'trainer.log'), 'utf8');
    expect(printed).toContain(`loss: ${exponential(rows.at(-1)?.loss ?? 0)} `);
  });

  test('the log of each node begins with what it ran on, so that the store keeps it for each generation', async () => {
    for (const [nodeRank, host] of HOSTS.entries()) {
      const printed = await readFile(join(dirOf(host, 'once', 1, nodeRank), 'trainer.log'), 'utf8');
      expect(printed.split('\n')[0]).toMatch(
        new RegExp(
          `^\\[anneal\\] generation 1, node ${String(nodeRank)} on ${host}: runtime ascend, torch \\S+, torch-npu 2\\.7\\.1, MindSpeed 0\\.12\\.1, driver .*CANN .*Megatron 0\\.12\\.1`,
        ),
      );
    }
  });

  test('an environment of three parts: host, plan and lease, and CANN writes its own log into its folder', async () => {
    for (const [nodeRank, host] of HOSTS.entries()) {
      const dir = dirOf(host, 'once', 1, nodeRank);
      const { env } = JSON.parse(await readFile(join(dir, 'launch.json'), 'utf8')) as { env: Record<string, string> };
      expect(env).toMatchObject({
        ...{ HCCL_SOCKET_IFNAME: '=lo', GLOO_SOCKET_IFNAME: 'lo', TP_SOCKET_IFNAME: 'lo' },
        ...{ HCCL_EXEC_TIMEOUT: '1836', ASCEND_PROCESS_LOG_PATH: join(dir, 'plog') },
        ASCEND_HOME_PATH: join(cluster.root, 'runtime/Ascend/ascend-toolkit/latest'),
      });
      expect(env['PATH']?.split(':')[0]).toBe(runtime.bin);
      expect(await readdir(join(dir, 'plog/debug/plog'))).toHaveLength(1);
    }
  });
});

describe('a generation that breaks', () => {
  /** A training that no run before has made; how often it saves changes nothing of that. */
  const anew = (learningRate: number): RunSpecInput => ({
    ...spec,
    training: { ...spec.training, learningRate },
    checkpoint: { everyIterations: 5 },
  });
  const incidentsOf = async (runId: string) => cluster.anneal.runs.get(runId).incidents();

  test('EI0002 on one host, a dead card on the other: the card is the root, its host is set apart, and both logs of CANN are in the store', async () => {
    await runtime.trap('card-dies 7 1');
    expect((await run('card', anew(0.002))).outcome).toBe('promoted');
    const [incident, ...more] = await incidentsOf('card');
    expect(more).toEqual([]);
    expect(incident).toMatchObject({ generation: 1, host: 'npu-a', failure: 'HostBroken' });
    expect(incident?.message).toContain('507054');
    expect(incident?.decision).toContain('without npu-a if others are free');
    const hosts = await cluster.anneal.hosts.list();
    expect(hosts.find(({ facts }) => facts.name === 'npu-a')?.cordon?.reason).toContain('507054');
    expect(hosts.find(({ facts }) => facts.name === 'npu-b')?.cordon).toBeNull();
    const folder = join(cluster.storeFolder, incident?.evidence ?? 'nothing');
    const plogs = await Promise.all(
      [0, 1].map(async (nodeRank) => {
        const logs = join(folder, `node-${String(nodeRank)}`, 'plog/debug/plog');
        const texts = (await readdir(logs)).map((name) => readFile(join(logs, name), 'utf8'));
        return (await Promise.all(texts)).join('');
      }),
    );
    expect(plogs[0]).toContain('HBM MULTI BIT ECC ERROR');
    expect(plogs[1]).toContain('EI0002');
    const found = JSON.parse(await readFile(join(folder, 'node-0/doctor.json'), 'utf8')) as object;
    expect(found).toMatchObject({
      host: 'npu-a',
      checks: expect.arrayContaining([expect.objectContaining({ check: 'ecc' })]) as unknown,
    });
    const report = await cluster.cli('report', 'card');
    expect(report.stdout).toMatch(/^evidence +\S+\/runs\/card\/incidents\/$/m);
  });

  test('exit 0 on a corrupt checkpoint, which was saved so: one commit back, and trained to the end', async () => {
    await runtime.trap('corrupt-save 10 1');
    expect((await run('corrupt', anew(0.001))).outcome).toBe('promoted');
    expect((await incidentsOf('corrupt')).map(({ generation, failure }) => `${String(generation)} ${failure}`)).toEqual(
      ['1 TrainerFailed', '2 CheckpointDamaged'],
    );
    const log = (await readLog(cluster, 'corrupt')).flatMap((fact) =>
      fact.fact === 'drop' && fact.reason === 'damaged' ? [fact.iteration] : [],
    );
    expect(log).toEqual([10]);
    expect((await commitsOf(cluster, 'corrupt')).at(-1)).toMatchObject({ iteration: 20, generation: 3 });
  });

  test('adapters: the base is named from the first checkpoint on and never at the start, and merged with them into a whole model', async () => {
    await runtime.trap('card-dies 12 1');
    const adapted: RunSpecInput = {
      ...anew(0.002),
      model: { ...spec.model, lora: { rank: 4, alpha: 8 } },
      // The release has no adapters with Dist-train.
      layout: { hosts: 2, npusPerHost: 1, visionLayersPerStage: [2, 0], languageLayersPerStage: [1, 1] },
    };
    expect((await run('adapted', adapted)).outcome).toBe('promoted');
    expect((await incidentsOf('adapted')).map(({ generation }) => generation)).toEqual([1]);
    const named = async (generation: number): Promise<boolean[]> => {
      const launches = HOSTS.flatMap((host) => [0, 1].map((node) => dirOf(host, 'adapted', generation, node)));
      const texts = await Promise.all(
        launches.map((dir) => readFile(join(dir, 'launch.json'), 'utf8').catch(() => undefined)),
      );
      return texts.flatMap((text) => (text === undefined ? [] : [text.includes('--load-base-model')]));
    };
    expect([await named(1), await named(2)]).toEqual([
      [false, false],
      [true, true],
    ]);
  });
});

/** As C's `%E`, two digits of exponent at least. */
function exponential(value: number): string {
  return value
    .toExponential(6)
    .toUpperCase()
    .replace(/E([+-])(\d)$/, 'E$10$2');
}

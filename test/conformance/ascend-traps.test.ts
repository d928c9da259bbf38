/**
 * The traps of an Ascend host, each against real processes that fall into it as published (`test/fixtures/ascend`), and the verdict of the
 * engine. A test is named "trap: verdict"; `npm run show:ascend` prints them as a table. Nothing here has run on an NPU.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { FileSetRef } from '../../src/contract/activities.js';
import { checkpointManifestName, checkpointPrefix } from '../../src/contract/store-keys.js';
import { hostFaults } from '../../src/plan/host-faults.js';
import { rootCause } from '../../src/plan/verdict.js';
import type { Plan } from '../../src/plan/plan.js';
import { judge } from '../../src/preflight/judge.js';
import { probeHost } from '../../src/preflight/probe-host.js';
import { markedProcesses } from '../../src/process/kill.js';
import { readProcess } from '../../src/process/proc.js';
import { readState } from '../../src/process/trainer-files.js';
import { publishFileSet, scanFolder } from '../../src/storage/file-set.js';
import { AscendScene, ascendSpec, type AscendHost } from '../support/ascend-host.js';
import { ascendHost, TABLE_OF_TWO } from '../fixtures/ascend/tools.js';
import { scratchFolder } from '../support/scratch.js';
import { BASE_MODEL, python, writeDigits } from '../support/small-run.js';
import { quietRuntime } from '../support/quiet-runtime.js';
import { until } from '../support/until.js';

quietRuntime();
const LIMIT_MS = 50_000;
const TRACKER = 'latest_checkpointed_iteration.txt';
const twoStages = { hosts: 2, npusPerHost: 1, visionLayersPerStage: [2, 0], languageLayersPerStage: [1, 1] };
const twoTensorRanks = { hosts: 1, npusPerHost: 2, tensorParallel: 2 };

async function digest(folder: string): Promise<string> {
  return (JSON.parse(await python('-m', 'anneal_trainer.tensors', 'digest', folder)) as { digest: string }).digest;
}

describe('the converter, which ends with exit code 0', () => {
  test("the converter's question on standard input: it is answered, since the user has agreed to the model's code", async () => {
    const scene = await AscendScene.open(ascendSpec());
    const host = await scene.host();
    await expect(host.stage('convertModel', { model: await scene.artifact() })).resolves.toMatchObject({
      facts: { tensors: expect.any(Number) as number },
    });
    expect(await host.log('convert')).toContain('Do you wish to run the custom code? [y/N]');
  });

  test("the converter's question without an answer: CommandFailed, not a wait of 15 seconds", async () => {
    const silent = (plan: Plan): Plan => {
      const [{ stdin: _, ...command }] = plan.stages.convert.commands as [Plan['stages']['convert']['commands'][0]];
      return { ...plan, stages: { ...plan.stages, convert: { ...plan.stages.convert, commands: [command] } } };
    };
    const scene = await AscendScene.open(ascendSpec(), { change: silent });
    const converting = (await scene.host()).stage('convertModel', { model: await scene.artifact() });
    await expect(converting).rejects.toMatchObject({
      type: 'CommandFailed',
      message: expect.stringContaining('contains custom code') as string,
    });
  });

  test('a missing shard, which it would leave out: ConversionWrong before it is started', async () => {
    const scene = await AscendScene.open(ascendSpec());
    const folder = join(scene.root, 'model');
    await cp(BASE_MODEL, folder, { recursive: true });
    await python('-c', SPLIT_IN_TWO, folder);
    await rm(join(folder, 'model-00002-of-00002.safetensors'));
    const host = await scene.host();
    await expect(host.stage('convertModel', { model: await scene.artifact(folder) })).rejects.toMatchObject({
      type: 'ConversionWrong',
      message: expect.stringContaining('model-00002-of-00002.safetensors') as string,
    });
    await expect(host.log('convert')).rejects.toThrow('ENOENT');
  });

  test.each([
    [
      'an early tracker, of a converter that died before the last rank: ConversionWrong',
      'early-tracker',
      'the folder mp_rank_00_001 is missing',
    ],
    ['a rank folder of another layout: ConversionWrong', 'stale-ranks', 'mp_rank_07'],
    ['tensors that the converter left out: ConversionWrong', 'missing-tensors', 'mp_rank_00_000 lacks '],
  ])('%s', async (_, trap, words) => {
    const scene = await AscendScene.open(ascendSpec({ layout: twoStages }));
    await scene.runtime.trap(trap);
    const converting = (await scene.host()).stage('convertModel', { model: await scene.artifact() });
    await expect(converting).rejects.toMatchObject({
      type: 'ConversionWrong',
      message: expect.stringContaining(words) as string,
    });
  });

  test('stale rank folders of an attempt before, which it does not clear: converted into an empty folder', async () => {
    const scene = await AscendScene.open(ascendSpec({ layout: twoStages }));
    const host = await scene.host();
    const stale = join(host.folder('convert'), 'converted/release/mp_rank_03');
    await mkdir(stale, { recursive: true });
    await writeFile(join(stale, 'model_optim_rng.pt'), 'of another layout');
    await host.stage('convertModel', { model: await scene.artifact() });
    expect(await readdir(join(host.folder('convert'), 'converted/release'))).toEqual([
      'mp_rank_00_000',
      'mp_rank_00_001',
    ]);
  });
});

describe('the export from two tensor ranks', () => {
  /** A checkpoint that no training has touched, so that what comes back must be the base, bit for bit. */
  async function untouched(change = (plan: Plan) => plan) {
    const scene = await AscendScene.open(ascendSpec({ layout: twoTensorRanks }), { change });
    const host = await scene.host();
    const model = await scene.artifact();
    await host.stage('convertModel', { model });
    const prefix = checkpointPrefix('run', 1, 6);
    const folder = join(host.folder('convert'), 'converted/release');
    const checkpoint = await publishFileSet(scene.store, folder, await scanFolder(folder), {
      prefix,
      manifestKey: `${prefix}${checkpointManifestName}`,
    });
    await host.stage('publishModel', { model, checkpoint });
    return digest(join(host.folder('publish'), 'published'));
  }

  test('permuted qkv of an export from two tensor ranks, with names and shapes as they should be: not by that converter, and exact bit for bit', async () => {
    const before = await digest(BASE_MODEL);
    const upstream = (plan: Plan): Plan => {
      const { publish } = plan.stages;
      const [{ args, ...command }] = publish.commands as [Plan['stages']['publish']['commands'][0] & object];
      // Ours has the same command line behind `python -m anneal_trainer.mm_convert`.
      const commands = [
        { ...command, program: 'mm-convert', args: args.slice(args.indexOf('InternVLConverter')), stdin: 'y\n' },
      ];
      return { ...plan, stages: { ...plan.stages, publish: { ...publish, commands } } };
    };
    expect(await untouched(upstream)).not.toBe(before);
    expect(await untouched()).toBe(before);
  });
});

describe('the trainer', () => {
  let root: string;
  let first: AscendScene;
  let inputs: Record<'model' | 'converted' | 'dataset', FileSetRef>;

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'anneal-test-'));
    first = await AscendScene.open(ascendSpec(), { root });
    const host = await first.host();
    const data = join(root, 'data');
    await writeDigits(data);
    const model = await first.artifact();
    const { artifacts } = await host.stage('convertModel', { model });
    const prepared = await host.stage('prepareData', { model, data: await first.artifact(data) });
    inputs = { model, converted: artifacts.converted!, dataset: prepared.artifacts.dataset! };
  });
  afterEach(() => first.runtime.trap());
  afterAll(() => rm(root, { recursive: true, force: true }));

  /** One NPU of a run of its own, with everything that its trainer reads. */
  async function ready(runId: string, spec = ascendSpec()): Promise<{ scene: AscendScene; host: AscendHost }> {
    const scene = await first.another(runId, spec);
    return { scene, host: await scene.host() };
  }

  /** How the two nodes of a Dist-train gang end that meets the trap. */
  async function endsOfTwo(runId: string, trap: string): Promise<readonly unknown[]> {
    const distTrain = { vision: { npus: 1 }, language: { npus: 1 } };
    const { scene, host } = await ready(runId, ascendSpec({ layout: { hosts: 2, npusPerHost: 1, distTrain } }));
    await scene.runtime.trap(trap);
    const { artifacts } = await host.stage('convertModel', { model: inputs.model });
    const both = { ...inputs, converted: artifacts.converted! };
    const one = await host.stagedIn(both);
    const two = await (await scene.host('npu-b')).stagedIn(both, { nodeRank: 1, masterPort: one.port });
    return Promise.all([one, two].map(({ train }) => train().catch((error: unknown) => error)));
  }

  test.each([
    [
      'exit 0 on a missing checkpoint: CheckpointDamaged',
      (load: string) => rm(join(load, TRACKER)),
      '--exit-on-missing-checkpoint',
    ],
    [
      'exit 0 on an empty tracker: CheckpointDamaged',
      (load: string) => truncate(join(load, TRACKER)),
      'Invalid metadata file',
    ],
    [
      'exit 0 on a corrupt checkpoint: CheckpointDamaged',
      (load: string) => truncate(join(load, 'release/mp_rank_00/model_optim_rng.pt'), 1000),
      'could not load the checkpoint',
    ],
  ])('%s', async (name, spoil, words) => {
    const { host } = await ready(name.replaceAll(/\W+/g, '-'));
    const { dir, train } = await host.stagedIn(inputs);
    await spoil(join(dir, 'load'));
    await expect(train()).rejects.toMatchObject({
      type: 'CheckpointDamaged',
      message: expect.stringContaining(words) as string,
    });
  });

  test('an orphan on the port: HostSuspect, and the next generation meets elsewhere and trains to its end', async () => {
    const { host } = await ready('orphan');
    const orphan = spawn('python3', ['-c', HOLD_A_PORT], { stdio: ['pipe', 'pipe', 'inherit'] });
    const [said] = (await once(orphan.stdout, 'data')) as [Buffer];
    try {
      const masterPort = Number(said.toString());
      const before = await host.stagedIn(inputs, { masterPort });
      await expect(before.train()).rejects.toMatchObject({ type: 'HostSuspect' });
      await before.stop();
      const second = await host.stagedIn(inputs, { generation: 2 });
      expect(second.port).not.toBe(masterPort);
      await expect(second.train()).resolves.toMatchObject({ iteration: 6 });
    } finally {
      orphan.kill('SIGKILL');
    }
  });

  test('ranks that outlive a launcher that was killed: ended with it, and nothing is left', async () => {
    const { host, scene } = await ready('outlived');
    await scene.runtime.trap('silent-hang 2');
    const { dir, marker, train } = await host.stagedIn(inputs);
    const ending = train().catch((error: unknown) => error);
    const rank = await until('the rank trains', LIMIT_MS, async () => {
      const state = await readState(dir);
      if (state === undefined || !('pid' in state) || state.trainer === null) return undefined;
      return markedProcesses(marker).find(({ pid }) => readProcess(pid)?.ppid === state.trainer);
    });
    process.kill(readProcess(rank.pid)!.ppid, 'SIGKILL');
    await expect(ending).resolves.toMatchObject({ type: 'TrainerFailed' });
    expect(markedProcesses(marker)).toEqual([]);
  });

  test('a silent hang: Hung, with the stacks of the rank, its plog and the findings of its host in the evidence', async () => {
    const { host, scene } = await ready('hang', ascendSpec({ limits: { iterationSeconds: 3 } }));
    await scene.runtime.trap('silent-hang 3');
    const { train, probe, stop } = await host.stagedIn(inputs);
    await expect(train()).rejects.toMatchObject({ type: 'Hung', details: [{ iteration: 3 }] });
    await probe();
    expect((await stop()).evidence).toBeGreaterThan(0);
    const evidence: string[] = [];
    for await (const { key } of scene.store.list('runs/hang/incidents/'))
      evidence.push(key.split('/').slice(5).join('/'));
    expect(evidence).toEqual(
      expect.arrayContaining([
        'stacks.log',
        'trainer.log',
        'launch.json',
        expect.stringMatching(/^plog\/debug\/plog\/plog-/) as string,
      ]),
    );
    const stacks = (await scene.store.read('runs/hang/incidents/000001/node-0/stacks.log'))?.toString();
    expect(stacks).toContain('pretrain_vlm.py');
    const found = await until('the host has looked at itself', LIMIT_MS, () =>
      scene.store.read('runs/hang/incidents/000001/node-0/doctor.json'),
    );
    expect(JSON.parse(found.toString())).toMatchObject({
      ...{ host: 'npu-a', isFit: true },
      checks: expect.arrayContaining([expect.objectContaining({ check: 'ecc' })]) as unknown,
    });
  });

  test('exit 0 without a word on a node that prints no marker: TrainerFailed, by what it has not saved', async () => {
    const [, quiet] = await endsOfTwo('silent', 'silent-end 3');
    expect(quiet).toMatchObject({
      type: 'TrainerFailed',
      message: 'Host npu-b, node 1: the trainer ended without a word, but has saved iteration 2 of 6.',
    });
  });

  test.each([
    ['EI0002 on one host, a dead card on the other: the card is the root (HostBroken), EI0002 an echo', 'card-dies'],
    ['EI0002 on both hosts, a dead card in the plog of one: that one is the root (HostBroken)', 'card-dies-unsaid'],
  ])('%s', async (_, trap) => {
    const [cause, echo] = await endsOfTwo(trap, `${trap} 2`);
    expect(cause).toMatchObject({ type: 'HostBroken', message: expect.stringContaining('507054') as string });
    expect(echo).toMatchObject({ type: 'PeerLost', message: expect.stringContaining('EI0002') as string });
    const failures = [echo, cause].map((error, index) => {
      const { type, message } = error as { type: string; message: string };
      return { host: index === 0 ? 'npu-b' : 'npu-a', nodeRank: 1 - index, type, message };
    });
    expect(rootCause(failures)).toMatchObject({ host: 'npu-a', type: 'HostBroken' });
    expect(hostFaults(failures)).toMatchObject([{ host: 'npu-a', failure: 'HostBroken' }]);
  });
});

describe('the evaluation', () => {
  test('a left-over _PREV.json and the results of an earlier checkpoint: judged anew, and neither is in the artifact', async () => {
    const scene = await AscendScene.open(ascendSpec());
    const host = await scene.host();
    const data = join(scene.root, 'data');
    await writeDigits(data);
    const model = await scene.artifact();
    const { artifacts } = await host.stage('prepareData', { model, data: await scene.artifact(data) });
    const work = host.folder('evaluate');
    await mkdir(work, { recursive: true });
    await writeFile(join(work, 'internvl2_8b_ai2d_test_PREV.json'), '{}');
    await writeFile(join(work, 'tuned.json'), JSON.stringify({ accuracy: 1, samples: 1, weights_digest: 'old' }));
    const { facts } = await host.evaluate({ model, published: model, dataset: artifacts.dataset! });
    expect(facts).toMatchObject({ weightsDigest: await digest(BASE_MODEL) });
    expect(facts['accuracy']).toBeLessThan(1);
    expect(await readdir(work)).toEqual(['base.json', 'tuned.json']);
  });
});

describe('the host', () => {
  const impatient = { limitMs: 3_000, waitMs: 10_000, totalMs: 60_000 };
  const findings = async (answers: Record<string, string>) => {
    const workRoot = await scratchFolder();
    const ascend = await ascendHost(join(workRoot, '..'), answers);
    const { isFit, checks } = judge(await probeHost({ runtime: 'ascend', npus: 2, workRoot, ascend }, impatient));
    const refusing = checks.flatMap(({ check, findings: found }) =>
      found.flatMap(({ severity, sentence }) => (severity === 'refuse' ? [`${check}: ${sentence}`] : [])),
    );
    return { isFit, refusing };
  };

  test('an npu-smi that hangs: unfit, since its driver does not answer', async () => {
    const { isFit, refusing } = await findings({ 'npu-smi info': '$ trap "" TERM; sleep 600' });
    expect(isFit).toBe(false);
    expect(refusing.join('\n')).toContain('had not answered after 3 s and was killed');
  });

  test('HBM kept after a death, with no process in the table: unfit until it is free', async () => {
    const { isFit, refusing } = await findings({
      'npu-smi info': TABLE_OF_TWO.replace('3402 / 65536', '57784/ 65536'),
    });
    expect(isFit).toBe(false);
    expect(refusing.join('\n')).toContain('57784');
  });
});

/** Two shards and an index that names both. */
const SPLIT_IN_TWO = `
import json, sys
from pathlib import Path
from safetensors.torch import load_file, save_file
folder = Path(sys.argv[1])
tensors = load_file(folder / 'model.safetensors')
(folder / 'model.safetensors').unlink()
index = {}
for number, names in enumerate([sorted(tensors)[::2], sorted(tensors)[1::2]], start=1):
    file = f'model-{number:05d}-of-00002.safetensors'
    save_file({name: tensors[name] for name in names}, folder / file, metadata={'format': 'pt'})
    index |= dict.fromkeys(names, file)
(folder / 'model.safetensors.index.json').write_text(json.dumps({'metadata': {}, 'weight_map': index}))
`;

/** What a rank that nobody has ended does: it listens where its gang met. */
const HOLD_A_PORT = `
import socket, sys
held = socket.create_server(('', 0))
print(held.getsockname()[1], flush=True)
sys.stdin.read()
`;

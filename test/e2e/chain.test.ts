/**
 * The whole chain on real parts: a Temporal server, a control worker and two agents as processes of the built command, a real
 * training on two hosts. One cluster for the file; each test goes on from what the ones before it made.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  KeyConflictError,
  RunNotFoundError,
  SpecRefusedError,
  type FineTuneResult,
  type RunEvent,
} from '../../src/client/index.js';
import type { FileSetRef, TrainRankInput } from '../../src/contract/activities.js';
import { fillArgument, STAGE_NAMES, type StageName } from '../../src/plan/plan.js';
import { annealCommand, DevCluster } from '../support/dev-cluster.js';
import { commandLine, processesOf } from '../support/folder-processes.mjs';
import { activitiesOf } from '../support/run-history.js';
import { commitsOf, filesBelow, flipByte, readPlan } from '../support/run-files.js';
import { python, RUNTIME_BIN, smallSpec, TRAINER_HOME, writeDigits } from '../support/small-run.js';
import { freePort } from '../support/temporal.js';
import { trainerFolder, trainersOf, type Trainer } from '../support/trainers.js';
import { until, within } from '../support/until.js';

const ITERATIONS = 80;
const EVERY = 10;
/** A whole run takes half a minute on two free cores. */
const RUN_LIMIT_MS = 300_000;

let cluster: DevCluster;
let spec: ReturnType<typeof smallSpec>;
let first: FineTuneResult;
let trainers: readonly Trainer[];

beforeAll(async () => {
  cluster = await DevCluster.start({ agents: 2 });
  const data = join(cluster.root, 'data');
  await writeDigits(data);
  spec = smallSpec({ data, iterations: ITERATIONS });
});

afterAll(async () => {
  expect(await cluster.stop()).toEqual([]);
});

/** Runs a spec to its end. */
async function run(changed: typeof spec, key: string): Promise<FineTuneResult> {
  const handle = await cluster.anneal.runs.start(changed, { key });
  return within(`run ${key} ends`, RUN_LIMIT_MS, handle.result());
}

function statuses({ stages }: Pick<FineTuneResult, 'stages'>): Record<string, string> {
  return Object.fromEntries(stages.map(({ stage, status }) => [stage, status]));
}

/** The expected status of every stage: `anew` were made, the others found. */
function onlyAnew(...anew: readonly StageName[]): Record<string, string> {
  return Object.fromEntries(STAGE_NAMES.map((stage) => [stage, anew.includes(stage) ? 'done' : 'reused']));
}

describe('a first run', () => {
  const events: RunEvent[] = [];
  const commands: string[][] = [];

  test('goes through all six stages and its watcher is told of each in order, with iterations and losses', async () => {
    const handle = await cluster.anneal.runs.start(spec, { key: 'first' });
    const watching = (async () => {
      for await (const event of handle.watch({ pollMs: 200, signal: AbortSignal.timeout(RUN_LIMIT_MS) }))
        events.push(event);
    })();
    const seeing = until('both nodes have started a trainer', RUN_LIMIT_MS, () => trainersOf(cluster, 'first', 1)).then(
      (seen) => {
        trainers = seen;
        commands.push(...seen.map(({ launcher }) => commandLine(launcher)));
      },
    );
    await Promise.all([watching, seeing]);
    first = await handle.result();

    expect(first.outcome).toBe('promoted');
    expect(statuses(first)).toEqual(onlyAnew(...STAGE_NAMES));
    const stageEvents = events.flatMap((event) =>
      event.type === 'stage-done' || event.type === 'stage-started' ? [`${event.type} ${event.stage}`] : [],
    );
    expect([...new Set(stageEvents)]).toEqual(
      STAGE_NAMES.flatMap((stage) => [`stage-started ${stage}`, `stage-done ${stage}`]),
    );
    expect(events.at(-1)).toMatchObject({ type: 'outcome', outcome: 'promoted' });

    const training = events.flatMap((event) => (event.type === 'progress' && event.stage === 'train' ? [event] : []));
    const iterations = training.map(({ done }) => done ?? 0);
    expect(iterations).toEqual([...iterations].sort((a, b) => a - b));
    const measured = training.filter(({ loss }) => loss !== undefined);
    expect(measured.length).toBeGreaterThan(0);
    expect(
      measured.every(
        ({ total, host, loss }) => total === ITERATIONS && host.startsWith('host-') && Number.isFinite(loss),
      ),
    ).toBe(true);
  });

  test("starts on each node exactly the plan's train command with its holes filled, and nothing else", async () => {
    const plan = await readPlan(cluster, 'first');
    const asked = (await activitiesOf(cluster.state.address, 'run/first/train')).filter(
      ({ type }) => type === 'trainRank',
    );
    expect(asked).toHaveLength(2);
    const [launch] = plan.stages.train.commands;
    // torchrun is a script: its interpreter, which stands in front of it, is the environment's affair.
    for (const { host, nodeRank } of trainers) {
      const { queue, input } = asked.find(({ input: one }) => (one as TrainRankInput).nodeRank === nodeRank)!;
      const { masterAddress, masterPort, inputs } = input as TrainRankInput;
      expect(queue).toBe(`npu/dev/${host}`);
      expect(masterPort).toBeGreaterThan(0);
      const work = trainerFolder(cluster, host, 'first', 1, nodeRank);
      const cached = (ref: FileSetRef | undefined): string => join(cluster.workRoot(host), 'cache', ref!.digest);
      const values = {
        ...{ work, load: join(work, 'load'), save: join(work, 'save'), trainerHome: TRAINER_HOME },
        ...{ masterAddress, masterPort: String(masterPort), nodeRank: String(nodeRank) },
        ...{ dataset: cached(inputs.dataset), baseModel: `${cached(inputs.model)}-tokenizer` },
      };
      const planned = launch!.args.map((argument) => fillArgument(argument, values));
      const [interpreter, ...command] = commands[nodeRank]!;
      expect(interpreter).toMatch(/\/python[\d.]*$/);
      expect(command).toEqual([join(RUNTIME_BIN, launch!.program), ...planned]);
    }
    expect(trainers.map(({ host }) => host).sort()).toEqual(['host-a', 'host-b']);
  });

  test('gives each agent a root of its own in which no shard of the other lies', async () => {
    const [vision, language] = trainers as [Trainer, Trainer];
    for (const [{ host, dir }, own, foreign] of [
      [vision, 'mp_vit_rank', 'mp_gpt_rank'],
      [language, 'mp_gpt_rank', 'mp_vit_rank'],
    ] as const) {
      expect(dir.startsWith(cluster.workRoot(host))).toBe(true);
      const files = await filesBelow(dir);
      for (const folder of ['load/', 'save/'])
        expect(files.some((path) => path.startsWith(folder) && path.includes(own))).toBe(true);
      expect(files.filter((path) => path.includes(foreign))).toEqual([]);
      expect(
        commands[host === vision.host ? 0 : 1]!.filter(
          (part) => part.includes('/hosts/') && !part.includes(`/hosts/${host}/`),
        ),
      ).toEqual([]);
    }
  });

  test("commits checkpoints of exactly the plan's files, keeps the last two, and the tracker names only what was saved", async () => {
    const { gang } = await readPlan(cluster, 'first');
    const commits = await commitsOf(cluster, 'first');
    expect(commits.at(-1)?.iteration).toBe(ITERATIONS);
    const planned = gang.checkpointFiles.map(({ path }) => path);
    const beside = ['SAVED.json', 'manifest.json', 'node-0.json', 'node-1.json'];
    expect(gang.keepCheckpoints).toBe(2);
    expect(commits.length).toBeGreaterThan(2);
    for (const { iteration, checkpoint } of commits) {
      expect(iteration % EVERY).toBe(0);
      const isKept = commits.indexOf(commits.at(-2)!) <= commits.findIndex((one) => one.iteration === iteration);
      expect(await filesBelow(join(cluster.storeFolder, checkpoint.prefix.replace(/\/$/, '')))).toEqual(
        isKept ? [...planned, ...beside].sort() : [],
      );
    }
    for (const { dir } of trainers) {
      const saved = (await filesBelow(join(dir, 'save'))).map((path) => path.split('/')[0]);
      expect(saved).toContain(`iter_${String(ITERATIONS).padStart(7, '0')}`);
    }
    const tracker = await readFile(join(trainers[0]!.dir, 'save', 'latest_checkpointed_iteration.txt'), 'utf8');
    expect(tracker.trim()).toBe(String(ITERATIONS));
  });

  test('publishes a model whose weights, hashed anew, have the digest of the result', async () => {
    const folder = join(cluster.storeFolder, first.published.prefix);
    const { digest } = JSON.parse(await python('-m', 'anneal_trainer.tensors', 'digest', folder)) as { digest: string };
    expect(digest).toBe(first.weightsDigest);
    expect(first.promotion).toBe(1);
    const promoted = JSON.parse(
      await readFile(join(cluster.storeFolder, 'models', 'small', '000001.json'), 'utf8'),
    ) as object;
    expect(promoted).toMatchObject({ runId: 'first', weightsDigest: digest, published: first.published });
  });

  test('leaves no trainer and no host lent out', async () => {
    expect(
      processesOf(join(cluster.stateDir, 'hosts')).filter(({ command }) =>
        command.some((part) => part.includes('/trainers/')),
      ),
    ).toEqual([]);
    const hosts = await until('all hosts are free', 30_000, async () => {
      const listed = await cluster.anneal.hosts.list();
      return listed.every(({ owner }) => owner === null) ? listed : undefined;
    });
    expect(hosts.map(({ facts }) => facts.name).sort()).toEqual(['host-a', 'host-b']);
  });
});

describe('a second run', () => {
  test('of the same spec runs nothing, says whose results it took, and asks agents only for fingerprints', async () => {
    const again = await run(spec, 'again');
    expect(statuses(again)).toEqual(onlyAnew());
    for (const { note } of again.stages) expect(note).toBe('made by run first');
    const onAgents = (await activitiesOf(cluster.state.address, 'run/again')).filter(({ queue }) =>
      /^(io|npu)\//.test(queue),
    );
    expect(new Set(onAgents.map(({ type }) => type))).toEqual(new Set(['fingerprintSource']));
    expect(again.weightsDigest).toBe(first.weightsDigest);
    // The current model is promoted once, however many runs find it.
    expect(again.promotion).toBe(1);
  });

  test('of the same key is the same run', async () => {
    const handle = await cluster.anneal.runs.start(spec, { key: 'first' });
    expect(handle.existed).toBe(true);
    expect(await handle.result()).toEqual(first);
    await expect(cluster.anneal.runs.start({ ...spec, name: 'other' }, { key: 'first' })).rejects.toThrow(
      KeyConflictError,
    );
  });

  test('with a byte flipped in the stored conversion converts again, and takes everything else as it was', async () => {
    const found = (await activitiesOf(cluster.state.address, 'run/first/train')).find(
      ({ type }) => type === 'trainRank',
    )!;
    const converted = (found.input as TrainRankInput).inputs.converted!;
    const folder = join(cluster.storeFolder, converted.prefix);
    const [damaged] = (await filesBelow(folder.replace(/\/$/, ''))).filter((path) => path.endsWith('.pt'));
    await flipByte(join(folder, damaged!));
    const repaired = await run(spec, 'repaired');
    expect(statuses(repaired)).toEqual(onlyAnew('convert'));
    expect(repaired.stages.find(({ stage }) => stage === 'convert')?.note).toContain(damaged);
    expect(repaired.weightsDigest).toBe(first.weightsDigest);
  });

  test('with another learning rate trains, publishes and judges anew, and no more', async () => {
    const changed = await run({ ...spec, training: { ...spec.training, learningRate: 0.002 } }, 'changed');
    expect(statuses(changed)).toEqual(onlyAnew('train', 'publish', 'evaluate'));
    expect(changed.weightsDigest).not.toBe(first.weightsDigest);
  });
});

describe('a spec that cannot work', () => {
  test('is refused with path, value, rule and remedy before anything is taken', async () => {
    const before = await cluster.anneal.hosts.list();
    const wrong = { ...spec, training: { ...spec.training, learningRat: 1 } };
    await expect(cluster.anneal.runs.start(wrong, { key: 'wrong' })).rejects.toThrow(SpecRefusedError);
    await expect(cluster.anneal.runs.start(wrong, { key: 'wrong' })).rejects.toThrow(
      /training\.learningRat\b[^]*learningRate/,
    );
    await expect(cluster.anneal.runs.get('wrong').result()).rejects.toThrow(RunNotFoundError);
    expect(await filesBelow(join(cluster.storeFolder, 'runs', 'wrong'))).toEqual([]);
    expect(await cluster.anneal.hosts.list()).toEqual(before);
  });
});

describe('the command', () => {
  const writeSpec = async (name: string, content: object): Promise<string> => {
    const file = join(cluster.root, name);
    await writeFile(file, JSON.stringify(content));
    return file;
  };

  test('lists runs and hosts as JSON', async () => {
    const runs = await cluster.cli('runs', '--json');
    expect(runs.code).toBe(0);
    expect(JSON.parse(runs.stdout)).toContainEqual(
      expect.objectContaining({ runId: 'first', status: 'promoted', model: 'small' }),
    );
    const hosts = await cluster.cli('hosts', '--json');
    expect(hosts.code).toBe(0);
    expect(JSON.parse(hosts.stdout)).toContainEqual(
      expect.objectContaining({
        live: true,
        owner: null,
        facts: expect.objectContaining({ name: 'host-b', agentPid: cluster.pidOf('host-b') }) as object,
      }),
    );
  });

  test('prints what the trainers of a run printed', async () => {
    const { code, stdout } = await cluster.cli('logs', 'first', '--stage', 'train', '--node', '1');
    expect(code).toBe(0);
    const printed = await readFile(join(trainers[1]!.dir, 'trainer.log'), 'utf8');
    expect(printed).toMatch(/^\[anneal\] generation 1, node 1 on host-[ab]: runtime cpu, torch \d+\.\d+/);
    expect(printed).toContain(`iteration ${String(ITERATIONS).padStart(8)}/`);
    expect(stdout.trim()).toBe(printed.trim());
    expect((await cluster.cli('logs', 'no-such-run')).code).toBe(4);
  });

  test('shows by plan what a run would do: the plan that ran, and whose results it would take', async () => {
    const { code, stdout } = await cluster.cli('plan', await writeSpec('spec.yaml', spec), '--json');
    expect(code).toBe(0);
    const shown = JSON.parse(stdout) as { plan: object; reuse: Record<StageName, string> };
    expect(shown.plan).toEqual(await readPlan(cluster, 'first'));
    expect(shown.reuse).toMatchObject({
      prepare: 'ready (run first)',
      train: 'ready (run first)',
      evaluate: 'ready (run first)',
    });
  });

  test('says by its exit code how it went', async () => {
    const file = await writeSpec('strict.yaml', { ...spec, evaluation: { ...spec.evaluation, minimumAccuracy: 1 } });
    const watched = await cluster.cli('submit', file, '--key', 'strict', '--watch', '--json');
    expect(watched.stdout.trim().split('\n').at(-1)).toContain('"outcome":"rejected"');
    expect(watched.code).toBe(5);
    const refused = await cluster.cli('submit', await writeSpec('wrong.yaml', { ...spec, version: 2 }));
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining('version') as string });
    expect((await cluster.cli('watch', 'no-such-run')).code).toBe(4);
    expect((await annealCommand('runs', '--address', `127.0.0.1:${String(await freePort())}`)).code).toBe(3);
    expect((await cluster.cli('watch', 'first')).code).toBe(0);
  });
});

/** The scripts of `anneal plan --write`: bash reads them, they refuse what is not set, and they hand on exactly the plan's arguments. */
import { execFile, spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { handFiles } from '../../../src/backends/by-hand/files.js';
import { composePlan } from '../../../src/backends/compose-plan.js';
import { writePlan } from '../../../src/cli/write-plan.js';
import { fillArgument, fillJson, type Plan } from '../../../src/plan/plan.js';
import type { RunSpecInput } from '../../../src/spec/run.js';
import { demoInput, publishedInput, specOf } from './specs.js';

function planOf(input: RunSpecInput): Plan {
  const composed = composePlan(specOf(input));
  if (!('plan' in composed)) throw new Error(JSON.stringify(composed.refusals));
  return composed.plan;
}

/** Every character that a shell may take for something else, in the one text of a spec that reaches a command line. */
const NASTY = `it's $(touch hit) \`touch hit\` "\\ & ; * ~ $HOME.json`;
const distTrain: RunSpecInput = {
  ...publishedInput,
  data: { source: { uri: 'file:///data/x' }, meta: NASTY },
  layout: {
    hosts: 2,
    npusPerHost: 8,
    distTrain: { vision: { npus: 4 }, language: { npus: 12, layersPerStage: [9, 10, 9] } },
  },
};

const hasShellcheck = spawnSync('shellcheck', ['--version']).status === 0;

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'anneal-by-hand-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

interface Ended {
  readonly code: number;
  readonly output: string;
}
function bash(args: readonly string[], env: Record<string, string> = {}): Promise<Ended> {
  return new Promise((resolve) => {
    const path = `${join(folder, 'bin')}:${process.env['PATH'] ?? ''}`;
    const child = execFile('bash', args, { env: { PATH: path, ...env }, timeout: 20_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), output: stdout + stderr });
    });
    child.stdin?.end();
  });
}

/** A program that keeps its arguments and its standard input, and then does what `then` says. */
async function standIn(name: string, then = ''): Promise<void> {
  await mkdir(join(folder, 'bin'), { recursive: true });
  const text = `#!/usr/bin/env bash\nprintf '%s\\0' "$@" >> '${folder}/${name}.args'\ncat > '${folder}/${name}.input'\n${then}\n`;
  await writeFile(join(folder, 'bin', name), text, { mode: 0o755 });
}
async function argumentsOf(name: string): Promise<string[]> {
  return (await readFile(join(folder, `${name}.args`), 'utf8')).split('\0').slice(0, -1);
}

/** Folders with a blank, an ampersand and a quote in their names, all there. */
async function variables(...names: readonly string[]): Promise<Record<string, string>> {
  const entries = names.map((name) => [`ANNEAL_${name}`, join(folder, `the ${name} & it's`)] as const);
  await Promise.all(entries.map(([, path]) => mkdir(path, { recursive: true })));
  await writeFile(join(folder, 'set_env.sh'), 'export FROM_CANN="$UNSET_VARIABLE yes"\n');
  return { ...Object.fromEntries(entries), CANN_SET_ENV: join(folder, 'set_env.sh') };
}
const TRAINING = ['WORK', 'TRAINER_HOME', 'BASE_MODEL', 'DATASET', 'LOAD', 'SAVE'];

describe.each([
  ['the demo', demoInput],
  ['the published 8B', publishedInput],
  ['Dist-train with a nasty path', distTrain],
  ['adapters', { ...publishedInput, model: { ...publishedInput.model, lora: { rank: 8, alpha: 16 } } }],
])('%s', (_, input) => {
  test('has a script for each step and each node, and bash can read them all', async () => {
    const files = handFiles(planOf(input));
    expect(files.filter(({ isScript }) => isScript).map(({ path }) => path)).toEqual([
      '1-convert.sh',
      '2-prepare.sh',
      ...Array.from({ length: input.layout.hosts }, (__, node) => `3-train-node-${String(node)}.sh`),
      '4-publish.sh',
      '5-evaluate.sh',
    ]);
    for (const { path, text, isScript } of files) {
      if (!isScript) continue;
      const file = join(folder, path);
      await writeFile(file, text);
      expect({ path, ...(await bash(['-n', file])) }).toEqual({ path, code: 0, output: '' });
    }
  });

  test.skipIf(!hasShellcheck)('shellcheck has nothing to say of them (skipped where it is not installed)', async () => {
    await writePlan(planOf(input), join(folder, 'plan'));
    const scripts = handFiles(planOf(input)).flatMap(({ path, isScript }) =>
      isScript ? [join(folder, 'plan', path)] : [],
    );
    // SC2016: between single quotes nothing expands, which is why they are there.
    const { status, stdout } = spawnSync('shellcheck', ['--exclude=SC2016', '--', ...scripts], { encoding: 'utf8' });
    expect({ status, stdout }).toEqual({ status: 0, stdout: '' });
  });
});

describe('a training by hand', () => {
  const plan = planOf(distTrain);
  const address = { ANNEAL_MASTER_ADDRESS: 'host-a', ANNEAL_MASTER_PORT: '29400', ANNEAL_INTERFACE: 'lo' };
  const done = `echo '[after training is done] datetime: now'`;
  const tracker = (text: string): string => `printf '%s' '${text}' > "$ANNEAL_SAVE/latest_checkpointed_iteration.txt"`;
  const train = async (then: string, node = 1): Promise<Ended> => {
    await standIn('torchrun', then);
    await writePlan(plan, join(folder, 'plan'));
    return bash([join(folder, `plan/3-train-node-${String(node)}.sh`)], {
      ...(await variables(...TRAINING)),
      ...address,
      HCCL_IF_IP: '10.0.0.9',
    });
  };

  test('hands on exactly the arguments that an agent would, and files without holes', async () => {
    expect(await train(`env -0 > '${folder}/environment'`)).toMatchObject({ code: 0 });
    const values = Object.fromEntries(
      Object.entries({
        work: 'WORK',
        trainerHome: 'TRAINER_HOME',
        baseModel: 'BASE_MODEL',
        dataset: 'DATASET',
        load: 'LOAD',
        save: 'SAVE',
      }).map(([hole, name]) => [hole, join(folder, `the ${name} & it's`)]),
    );
    const [command] = plan.stages.train.commands;
    const expected = command?.args.map((argument) =>
      fillArgument(argument, { ...values, masterAddress: 'host-a', masterPort: '29400', nodeRank: '1' }),
    );
    expect(await argumentsOf('torchrun')).toEqual(expected);
    const environment = (await readFile(join(folder, 'environment'), 'utf8')).split('\0');
    const named = Object.entries(command?.env ?? {}).map(
      ([name, value]) => [name, fillArgument(value, values)] as const,
    );
    expect(named.length).toBeGreaterThan(10);
    // What an agent reads of its host: CANN, and the interface by which the hosts meet.
    const ofHost = { FROM_CANN: ' yes', HCCL_SOCKET_IFNAME: '=lo', GLOO_SOCKET_IFNAME: 'lo', TP_SOCKET_IFNAME: 'lo' };
    for (const [name, value] of [...named, ...Object.entries(ofHost)])
      expect(environment).toContain(`${name}=${value}`);
    for (const { path, content } of plan.stages.train.files)
      expect(JSON.parse(await readFile(join(values['work'] ?? '', path), 'utf8'))).toEqual(fillJson(content, values));
  });

  test.each([
    ['begins', 'release', []],
    ['goes on', '20', ['--load-base-model', 'CONVERTED']],
  ] as const)('of adapters names the base where it %s', async (_, tracker, added) => {
    const adapted = planOf({ ...publishedInput, model: { ...publishedInput.model, lora: { rank: 8, alpha: 16 } } });
    await standIn('torchrun');
    await writePlan(adapted, join(folder, 'plan'));
    const env = { ...(await variables(...TRAINING, 'CONVERTED')), ...address, ANNEAL_INTERFACE: 'lo' };
    await writeFile(join(folder, `the LOAD & it's`, 'latest_checkpointed_iteration.txt'), tracker);
    await bash([join(folder, 'plan/3-train-node-0.sh')], env);
    const given = await argumentsOf('torchrun');
    const values = added.map((word) => (word === 'CONVERTED' ? join(folder, `the CONVERTED & it's`) : word));
    expect(given).toHaveLength((adapted.stages.train.commands[0]?.args.length ?? 0) + added.length);
    expect(given.slice(given.length - added.length)).toEqual(values);
  });

  test('names the interface to each library, as an agent does, and lets nothing outrank it', async () => {
    const { output } = await train('env | grep -E "IFNAME|HCCL_IF_IP" | sort');
    expect(output.split('\n').filter((line) => /^[A-Z_]+=/.test(line))).toEqual([
      'GLOO_SOCKET_IFNAME=lo',
      'HCCL_SOCKET_IFNAME==lo',
      'TP_SOCKET_IFNAME=lo',
    ]);
  });

  test('is done when the trainer says so and its tracker has the last iteration', async () => {
    const ended = await train(`${done}\n${tracker('5000')}`, 0);
    expect(ended.output).toContain('Trained:');
    expect(ended.code).toBe(0);
  });

  test.each([
    ['never says that it is done', tracker('5000'), 'never said that training is done'],
    ['saved an earlier iteration last', `${done}\n${tracker('4800')}`, 'iteration 4800, not of 5000'],
    ['saved nothing', done, 'latest_checkpointed_iteration.txt'],
    ['crashes behind the log', `${done}\n${tracker('5000')}\nexit 7`, ''],
  ])('has failed when a trainer that ends with 0 or not %s', async (_, then, message) => {
    const ended = await train(then, 0);
    expect(ended.code).not.toBe(0);
    expect(ended.output).toContain(message);
    expect(ended.output).not.toContain('Trained:');
  });

  test.each([
    ['a folder that is not set', { ANNEAL_DATASET: '' }, 'ANNEAL_DATASET is not set: the prepared data set.'],
    ['a folder that is not there', { ANNEAL_DATASET: '/no/such' }, 'there is no such folder'],
    ['a relative path', { ANNEAL_WORK: 'work' }, 'must be an absolute path'],
    ['a path that would break out of JSON', { ANNEAL_WORK: '/tmp/a","b' }, 'must be an absolute path'],
    ['a path with a backslash', { ANNEAL_WORK: '/tmp/a\\b' }, 'must be an absolute path'],
    ['a port that is none', { ANNEAL_MASTER_PORT: '70000' }, 'must be a port'],
    ['an address that is none', { ANNEAL_MASTER_ADDRESS: 'a b' }, 'must be a name or an address'],
    ['no interface', { ANNEAL_INTERFACE: '' }, 'ANNEAL_INTERFACE is not set: the network interface of this host'],
    ['an interface that is not there', { ANNEAL_INTERFACE: 'no-such0' }, 'has no such network interface, but these: '],
    ['an interface that is a path', { ANNEAL_INTERFACE: '../net/lo' }, 'has no such network interface'],
    ['no CANN', { CANN_SET_ENV: '/no/set_env.sh' }, 'Set CANN_SET_ENV'],
  ])('refuses %s before anything starts', async (_, change, message) => {
    await standIn('torchrun');
    await writePlan(plan, join(folder, 'plan'));
    const ended = await bash([join(folder, 'plan/3-train-node-0.sh')], {
      ...(await variables(...TRAINING)),
      ...address,
      ...change,
    });
    expect(ended.output).toContain(message);
    expect(ended.code).toBe(1);
    await expect(argumentsOf('torchrun')).rejects.toThrow('ENOENT');
  });
});

test('no interface is asked for where no nodes of Ascend hosts meet', () => {
  const asks = (input: RunSpecInput) =>
    handFiles(planOf(input)).flatMap(({ path, text }) => (text.includes('ANNEAL_INTERFACE') ? [path] : []));
  expect(asks(demoInput)).toEqual([]);
  expect(asks(distTrain)).toEqual(['3-train-node-0.sh', '3-train-node-1.sh']);
});

describe('the other steps by hand', () => {
  test('a nasty path of the spec reaches the program as it is, and runs nothing', async () => {
    await standIn('python');
    await writePlan(planOf(distTrain), join(folder, 'plan'));
    const env = await variables('WORK', 'TOOLS_HOME', 'BASE_MODEL', 'SOURCE_DATA');
    expect(await bash([join(folder, 'plan/2-prepare.sh')], env)).toEqual({ code: 0, output: '' });
    expect(await argumentsOf('python')).toContain(join(env['ANNEAL_SOURCE_DATA'] ?? '', NASTY));
  });

  test('the converter is answered, and is believed only for the files that it wrote', async () => {
    await standIn('mm-convert');
    await writePlan(planOf(publishedInput), join(folder, 'plan'));
    const env = await variables('WORK', 'TOOLS_HOME', 'BASE_MODEL');
    const ended = await bash([join(folder, 'plan/1-convert.sh')], env);
    expect(ended.output).toContain('The converter ended without mp_rank_00_000/model_optim_rng.pt.');
    expect(ended.code).toBe(1);
    expect(await readFile(join(folder, 'mm-convert.input'), 'utf8')).toBe('y\n');
  });

  test('a shard that the index names and that is missing is refused, since the converter would leave it out', async () => {
    await standIn('mm-convert');
    await writePlan(planOf(publishedInput), join(folder, 'plan'));
    const env = await variables('WORK', 'TOOLS_HOME', 'BASE_MODEL');
    const model = env['ANNEAL_BASE_MODEL'] ?? '';
    const shards = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'] as const;
    const index = { weight_map: { a: shards[0], b: shards[1], c: shards[0] } };
    await writeFile(join(model, 'model.safetensors.index.json'), JSON.stringify(index, null, 2));
    await writeFile(join(model, shards[0]), 'weights');
    const convert = (): Promise<Ended> => bash([join(folder, 'plan/1-convert.sh')], env);
    expect((await convert()).output).toContain(`names ${shards[1]}, which is missing or empty`);
    await expect(argumentsOf('mm-convert')).rejects.toThrow('ENOENT');
    await writeFile(join(model, shards[1]), 'weights');
    expect((await convert()).output).toContain('The converter ended without');
  });

  test('a work folder with something in it is refused, since converters do not clear theirs', async () => {
    await standIn('mm-convert');
    await writePlan(planOf(publishedInput), join(folder, 'plan'));
    const env = await variables('WORK', 'TOOLS_HOME', 'BASE_MODEL');
    await writeFile(join(env['ANNEAL_WORK'] ?? '', 'left'), '');
    expect((await bash([join(folder, 'plan/1-convert.sh')], env)).output).toContain('it must be empty');
  });
});

test('a folder that is not empty is not written to', async () => {
  const target = join(folder, 'plan');
  await writePlan(planOf(demoInput), target);
  await expect(writePlan(planOf(demoInput), target)).rejects.toThrow('not empty');
  await expect(writePlan(planOf(demoInput), join(target, 'plan.json'))).rejects.toThrow('cannot be made or read');
});

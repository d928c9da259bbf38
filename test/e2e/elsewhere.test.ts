/**
 * A gang goes on elsewhere: from a host that a look found unfit, before anything was launched there; from one that is dead when its trainer should
 * start; and from one whose torchrun is left
 * behind and still dials its old master, which it must not find in the new gang. Real server, worker, agents and supervisors; torchrun is the
 * real one where it is left behind, and a stand-in elsewhere.
 */
import { chmod, mkdir, mkdtemp, readFile, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { TrainGangResult } from '../../src/contract/messages.js';
import { hostStatus, type HostView } from '../../src/plan/hosts.js';
import { readProcess } from '../../src/process/proc.js';
import { readExit } from '../../src/process/trainer-files.js';
import { monotonicSeconds } from '../../src/process/wait.js';
import { Rig } from '../support/rig.js';
import { RUNTIME_BIN } from '../support/small-run.js';
import { until, within } from '../support/until.js';

const TRAINING = { iterations: 40, every: 10 };
const LIMIT_MS = 90_000;
/** By name the first, so that a gang begins there. */
const UNFIT = 'a-host';
/** Long enough for a new gang to train while it runs. */
const LEASE_SECONDS = 40;

let rig: Rig;
let undisturbed: string;

beforeAll(async () => {
  rig = await Rig.start(['host-a', 'host-c']);
  const run = await rig.train('undisturbed', TRAINING);
  undisturbed = digestOf(await within('the undisturbed training ends', LIMIT_MS, run.result()));
});
afterAll(() => rig.stop());

const digestOf = ({ artifacts }: TrainGangResult): string => artifacts.checkpoint?.digest ?? 'none';

/** A runtime of links to the real one, with these programs. */
async function runtimeOf(programs: readonly string[]): Promise<string> {
  const folder = await mkdtemp(join(rig.root, 'runtime-'));
  const bin = join(folder, 'bin');
  await mkdir(bin, { recursive: true });
  for (const part of ['pyvenv.cfg', 'lib']) await symlink(join(RUNTIME_BIN, '..', part), join(folder, part));
  for (const program of programs) await symlink(join(RUNTIME_BIN, program), join(bin, program));
  return bin;
}

async function hostNamed(name: string): Promise<HostView> {
  const host = (await rig.hosts()).find(({ facts }) => facts.name === name);
  if (host === undefined) throw new Error(`The pool has no host ${name}.`);
  return host;
}

/** Once it is proven empty, and its agent has told what it finds. */
async function freeHost(name: string): Promise<HostView> {
  return until(`${name} is proven empty`, LIMIT_MS, async () => {
    const now = await hostNamed(name);
    return now.vacating === null && now.health !== undefined ? now : undefined;
  });
}

test('a host that is unfit is left out and set apart before anything is launched there, and the run goes on elsewhere', async () => {
  await rig.addHost(UNFIT, { runtimeBin: await runtimeOf(['python', 'torchrun']) });
  await freeHost(UNFIT);
  const run = await rig.train('left-out', TRAINING);
  expect(digestOf(await within('the training ends', LIMIT_MS, run.result()))).toBe(undisturbed);

  const opened = (await rig.log('left-out')).flatMap((fact) => (fact.fact === 'open' ? [fact.hosts] : []));
  expect(opened).toEqual([
    [UNFIT, 'host-a'],
    ['host-c', 'host-a'],
  ]);
  const launched = readFile(join(rig.root, UNFIT, 'trainers', 'left-out', '1', '0', 'launch.json'));
  await expect(launched).rejects.toMatchObject({ code: 'ENOENT' });
  const found = 'The runtime has no mm-convert. It must have python, torchrun, mm-convert.';
  const [incident, ...others] = (await rig.gang('left-out')).incidents;
  expect(others).toEqual([]);
  expect(incident).toMatchObject({ generation: 1, host: UNFIT, failure: 'HostUnfit', iterationsLost: 0 });
  expect(incident?.message).toContain(found);
  // Of the hosts that train now; nobody keeps the clock of a container right, elsewhere there is nothing to say.
  const { warnings } = await rig.gang('left-out');
  expect(warnings.filter((one) => !/clock/i.test(one))).toEqual([]);

  const host = await freeHost(UNFIT);
  expect([hostStatus(host), (await hostNamed('host-a')).cordon]).toEqual(['quarantined', null]);
  expect(host.cordon?.reason).toContain(`Unfit to train: ${found}`);
  expect(host.health).toMatchObject({ isFit: false, findings: expect.arrayContaining([found]) as string[] });
});

test('a host that is dead when its trainer should start is lost within seconds, and the run goes on elsewhere', async () => {
  const dying = 'b-host';
  await rig.addHost(dying);
  await freeHost(dying);
  // The pool has heard of it a moment ago, and lends it out.
  await rig.kill(dying);
  const run = await rig.train('never-began', TRAINING);
  await rig.logged('never-began', 'open 1');
  const openedAt = monotonicSeconds();
  await rig.logged('never-began', 'open 2');
  // Eight seconds to take work up, and as many for a sign of life; a stage would have a minute.
  expect(monotonicSeconds() - openedAt).toBeLessThan(35);
  expect(digestOf(await within('the training ends', LIMIT_MS, run.result()))).toBe(undisturbed);

  const opened = (await rig.log('never-began')).flatMap((fact) => (fact.fact === 'open' ? [fact.hosts] : []));
  expect(opened).toEqual([
    [dying, 'host-a'],
    ['host-c', 'host-a'],
  ]);
  expect((await rig.gang('never-began')).incidents).toMatchObject([
    { generation: 1, host: dying, failure: 'HostLost', iterationsLost: 0 },
  ]);
  expect((await hostNamed(dying)).faults).toMatchObject([{ failure: 'HostLost' }]);
});

test('a torchrun that is left behind and dials its old master joins nobody, and ends with its lease', async () => {
  const runtimeBin = await runtimeOf(['python', 'mm-convert']);
  // It is there, and dials only when it may.
  const go = join(rig.root, 'go');
  const script = `#!/bin/sh\nwhile [ ! -e "${go}" ]; do sleep 0.05; done\nexec "${join(RUNTIME_BIN, 'torchrun')}" "$@"\n`;
  await writeFile(join(runtimeBin, 'torchrun'), script);
  await chmod(join(runtimeBin, 'torchrun'), 0o755);
  await rig.addHost('host-b', { runtimeBin, leaseTtlSeconds: LEASE_SECONDS });
  await freeHost('host-b');
  await rig.hold(30);
  const run = await rig.train('left-behind', TRAINING);
  const [master, stale] = await rig.nodes('left-behind');
  expect([master.host, stale.host]).toEqual(['host-a', 'host-b']);
  const { argv } = JSON.parse(await readFile(join(stale.dir, 'launch.json'), 'utf8')) as { argv: readonly string[] };
  const oldPort = Number(argv[argv.indexOf('--master_port') + 1]);

  rig.line('host-b').cut();
  process.kill(master.trainer, 'SIGKILL');
  await until('the old master is gone', LIMIT_MS, () => readProcess(master.trainer) === undefined || undefined);
  let dialled = 0;
  const inItsPlace = createServer((socket) => {
    dialled += 1;
    socket.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => inItsPlace.listen(oldPort, '127.0.0.1', resolve));
  await writeFile(go, '');
  try {
    const [first, second] = await rig.nodes('left-behind', 2);
    expect([first.host, second.host]).toEqual(['host-a', 'host-c']);
    await until('the one that is left behind dials its old master', LIMIT_MS, () => dialled > 0 || undefined);
    await until('the new gang trains without it', LIMIT_MS, async () =>
      (await rig.printed(second)).includes(30) ? true : undefined,
    );
    expect(readProcess(stale.trainer)).toBeDefined();
    expect(await rig.printed(stale)).toEqual([]);
    await rig.hold();
    expect(digestOf(await within('the training ends', LIMIT_MS, run.result()))).toBe(undisturbed);
  } finally {
    inItsPlace.close();
  }
  const exit = await until('its lease is over', LIMIT_MS, () => readExit(stale.dir));
  expect(exit).toMatchObject({ reason: 'lease', left: [] });
  expect(readProcess(stale.trainer)).toBeUndefined();
  const log = await rig.log('left-behind');
  expect(log.flatMap((fact) => (fact.fact === 'open' ? [fact.generation] : []))).toEqual([1, 2]);
  expect(new Set(log.flatMap((fact) => (fact.fact === 'commit' ? [fact.generation] : [])))).toEqual(new Set([2]));
  expect((await rig.gang('left-behind')).incidents).toMatchObject([{ host: 'host-b', failure: 'HostLost' }]);
  rig.line('host-b').mend();
});

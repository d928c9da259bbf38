/** One node's trainer through its activity, with a real supervisor: attempts that race for it, and a last save that must wait. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ActivityCancelledError, type Client } from '@temporalio/client';
import { MockActivityEnvironment } from '@temporalio/testing';
import { expect, onTestFinished, test } from 'vitest';
import type { HostDeps } from '../../../src/activities/host/deps.js';
import { HostFence } from '../../../src/activities/host/fence.js';
import { storeBundle } from '../../../src/activities/host/incident-bundle.js';
import { createTrainRank } from '../../../src/activities/host/train-rank.js';
import { hostLockFile, trainersFolder } from '../../../src/activities/host/work-folders.js';
import type { TrainRankInput, TrainRankResult } from '../../../src/contract/activities.js';
import { checkpointPrefix, incidentNodeFolder, savedName } from '../../../src/contract/store-keys.js';
import type { HangLimits } from '../../../src/plan/hang.js';
import { kernelLines } from '../../../src/process/kernel-log.js';
import { markedProcesses, stopEverything } from '../../../src/process/kill.js';
import { inheritedEnvironment } from '../../../src/process/marker.js';
import { countOomKills, oomKillsSince } from '../../../src/process/oom-kills.js';
import { exists, readExit, trainerDir } from '../../../src/process/trainer-files.js';
import { StoreError } from '../../../src/storage/errors.js';
import { FolderStore } from '../../../src/storage/folder-store.js';
import { demoPlan } from '../../support/demo-plan.js';
import { memoryGroup } from '../../support/memory-group.js';
import { scratchFolder } from '../../support/scratch.js';
import { until } from '../../support/until.js';

const LIMIT_MS = 20_000;
const plan = demoPlan();

/** A folder store that can be away, and counts how often it was asked then. */
class Store extends FolderStore {
  isAway = false;
  asked = 0;

  override async *list(prefix: string): ReturnType<FolderStore['list']> {
    if (this.isAway) {
      this.asked += 1;
      throw new StoreError('Unavailable', 'The store is away.');
    }
    yield* super.list(prefix);
  }
}

/** A host on which a node of the smallest gang is staged in; its launcher is the stand-in, or a script of the test's own. */
async function stagedHost(script?: string, limits?: HangLimits, nodeRank = 0) {
  // Only the node that hears iterations watches for a hang.
  const gang = limits === undefined ? plan.gang : { ...plan.gang, reportingNode: 0 };
  const root = await scratchFolder();
  const workRoot = join(root, 'work');
  const marker = { workRoot, runId: `rank-${String(process.pid)}`, generation: 1, nodeRank };
  onTestFinished(async () => {
    await stopEverything({ marker, lockFile: hostLockFile(workRoot), graceMs: 0 });
  });
  const dir = trainerDir(trainersFolder(workRoot), marker);
  for (const folder of ['save', 'load']) await mkdir(join(dir, folder), { recursive: true });
  await writeFile(join(dir, 'load', 'latest_checkpointed_iteration.txt'), 'release');
  await writeFile(join(dir, 'plan.json'), JSON.stringify({ ...plan, limits, gang }));
  const torchrun = join(root, 'torchrun');
  if (script === undefined) await copyFile(join(import.meta.dirname, '../../support/stand_in_torchrun.py'), torchrun);
  else await writeFile(torchrun, script);
  await chmod(torchrun, 0o755);
  const owner = { workflowId: `run/${marker.runId}/train`, firstRunId: 'first', generation: 1 };
  await new HostFence(workRoot, 'host-a').open({ fence: 1, runId: marker.runId, owner });
  const store = new Store(join(root, 'store'));
  const beats = new Set<string>();
  const asked = { toStop: false };
  const heartbeat = (token: Uint8Array): Promise<void> => {
    beats.add(Buffer.from(token).toString());
    return asked.toStop ? Promise.reject(new ActivityCancelledError('cancelled')) : Promise.resolve();
  };
  const deps: HostDeps = {
    cluster: 'c',
    facts: { name: 'host-a' } as HostDeps['facts'],
    client: { activity: { heartbeat } } as unknown as Client,
    ...{ store, workRoot, runtimeBin: root, trainerHome: root, toolsHome: root },
    environment: inheritedEnvironment(process.env),
    leaseTtlSeconds: 60,
    graceSeconds: 0.5,
  };
  const input = {
    ...marker,
    fence: 1,
    inputs: {},
    masterAddress: '127.0.0.1',
    masterPort: 0,
    resumeIteration: 0,
    reachedIteration: 0,
  };
  const attempt = (name: string, change: Partial<TrainRankInput> = {}) => {
    const environment = new MockActivityEnvironment({ taskToken: Buffer.from(name) });
    const trainRank = createTrainRank(deps, new HostFence(workRoot, 'host-a'), { versions: { torch: '2.7.1' } });
    const end: Promise<TrainRankResult> = environment.run(trainRank, { ...input, ...change });
    return { environment, end };
  };
  return { marker, dir, store, beats, asked, attempt };
}

test('of attempts that race for one rank, one starts the trainer and the others adopt it; a cancel ends it for all', async () => {
  const { marker, dir, beats, asked, attempt } = await stagedHost();
  const attempts = Array.from({ length: 6 }, (_, index) => attempt(`attempt ${String(index)}`));
  const ends = Promise.all(attempts.map(({ end }) => end.catch((error: unknown) => error)));
  await until('all watch', LIMIT_MS, () => beats.size === attempts.length || undefined);
  const { pid, trainer } = JSON.parse(await readFile(join(dir, 'state.json'), 'utf8')) as Record<string, number>;
  expect(
    markedProcesses(marker)
      .map((found) => found.pid)
      .sort(),
  ).toEqual([pid, trainer].sort());
  expect(await readFile(join(dir, 'trainer.log'), 'utf8')).toBe(
    '[anneal] generation 1, node 0 on host-a: runtime cpu, torch 2.7.1\n',
  );

  asked.toStop = true;
  for (const { environment } of attempts) environment.cancel();
  for (const end of await ends) expect(end).toMatchObject({ name: 'CancelledFailure' });
  expect(await readExit(dir)).toMatchObject({ reason: 'stopped', left: [] });
}, 40_000);

test('the trainer of an older generation of its run is ended where it holds the host, and waited for', async () => {
  const { marker, dir, attempt } = await stagedHost('#!/bin/sh\nexec sleep 600\n');
  const older = attempt('older').end.catch((error: unknown) => error);
  await until('the older one runs', LIMIT_MS, async () => (await exists(join(dir, 'state.json'))) || undefined);
  const newer = trainerDir(trainersFolder(marker.workRoot), { ...marker, generation: 2 });
  await mkdir(newer, { recursive: true });
  await copyFile(join(dir, 'plan.json'), join(newer, 'plan.json'));
  await expect(attempt('newer', { generation: 2 }).end).rejects.toMatchObject({ type: 'HostBusy' });
  expect(await older).toMatchObject({ type: 'StaleGeneration' });
  expect(await readExit(dir)).toMatchObject({ reason: 'stopped', left: [] });
}, 40_000);

/** Writes a node's part of the last save. */
const lastSaveOf = (nodeRank: number): string => `#!/bin/sh
for path in ${plan.gang.checkpointFiles
  .filter(({ writtenBy }) => writtenBy === nodeRank)
  .map(({ path }) => path)
  .join(' ')}; do
  mkdir -p "$(dirname "save/iter_${String(plan.gang.iterations).padStart(7, '0')}/$path")"
  echo "$path" > "save/iter_${String(plan.gang.iterations).padStart(7, '0')}/$path"
done
`;
/** Node 0 of a training that says it is done, and ends. */
const DONE = `${lastSaveOf(0)}
echo ${String(plan.gang.iterations)} > save/latest_checkpointed_iteration.txt
echo '[after training is done]'
`;

test('a training that is done waits for a store that is away, and its last save is shipped when that is back', async () => {
  // Longer than a trainer may take to save: what has ended does not hang.
  const { dir, store, attempt } = await stagedHost(DONE, { saveSeconds: 2 });
  store.isAway = true;
  const { end } = attempt('attempt');
  await until('the trainer has ended', LIMIT_MS, () => readExit(dir));
  const asked = store.asked;
  await until('the store was asked again and again', LIMIT_MS, () => store.asked > asked + 5 || undefined);
  store.isAway = false;
  await expect(end).resolves.toMatchObject({ iteration: 0 });
  const manifest = `${checkpointPrefix(`rank-${String(process.pid)}`, 1, plan.gang.iterations)}node-0.json`;
  expect(await store.head(manifest)).toBeDefined();
}, 40_000);

test('a training that is done and waits for a store that is away is stopped like any other', async () => {
  const { dir, store, asked, attempt } = await stagedHost(DONE);
  store.isAway = true;
  const { environment, end } = attempt('attempt');
  await until('the trainer has ended', LIMIT_MS, () => readExit(dir));
  asked.toStop = true;
  environment.cancel();
  await expect(end).rejects.toMatchObject({ name: 'CancelledFailure' });
}, 40_000);

/** What a rank says whose peers were faster to leave, and what its launcher makes of it. */
const LOST_PEER = `
echo 'RuntimeError: [gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:43920'
exit 1
`;

test('a node has trained to its end when its part of the last save is shipped, also if it then loses a peer', async () => {
  const { dir, marker, store, attempt } = await stagedHost(`${lastSaveOf(1)}${LOST_PEER}`, undefined, 1);
  const { end } = attempt('attempt');
  await until('the trainer has ended', LIMIT_MS, () => readExit(dir));
  const prefix = checkpointPrefix(marker.runId, 1, plan.gang.iterations);
  await store.create(`${prefix}${savedName}`, '{}');
  await expect(end).resolves.toMatchObject({ iteration: 0 });
  expect(await store.head(`${prefix}node-1.json`)).toBeDefined();
}, 40_000);

test.each([0, 1])(
  'a launcher that waits for a peer that cannot come is ended when node %i has shipped its part of the last save',
  async (nodeRank) => {
    const saves = nodeRank === 0 ? DONE : lastSaveOf(nodeRank);
    const { dir, marker, store, attempt } = await stagedHost(
      `${saves}touch saved\nexec sleep 600`,
      undefined,
      nodeRank,
    );
    const { end } = attempt('attempt');
    await until('it has saved', LIMIT_MS, async () => (await exists(join(dir, 'saved'))) || undefined);
    if (nodeRank > 0)
      await store.create(`${checkpointPrefix(marker.runId, 1, plan.gang.iterations)}${savedName}`, '{}');
    await expect(end).resolves.toMatchObject({ iteration: 0 });
    expect(await readExit(dir)).toMatchObject({ reason: 'stopped', left: [] });
  },
  40_000,
);

test('a node that loses a peer before its last save has failed', async () => {
  const { attempt } = await stagedHost(`#!/bin/sh${LOST_PEER}`, undefined, 1);
  await expect(attempt('attempt').end).rejects.toMatchObject({ type: 'PeerLost' });
}, 40_000);

test('a trainer that lives and makes no progress is reported as hung, and left to its gang', async () => {
  const { dir, marker, attempt } = await stagedHost('#!/bin/sh\nexec sleep 600\n', { startSeconds: 1 });
  await expect(attempt('attempt').end).rejects.toMatchObject({
    type: 'Hung',
    message: expect.stringMatching(
      /^Host host-a, node 0: .* no progress for [12] s \(phase "starting", after iteration 0; the limit is 1 s\)\.$/,
    ) as string,
    details: [{ iteration: 0, at: expect.any(Number) as number }],
  });
  expect(await readExit(dir)).toBeUndefined();
  expect(markedProcesses(marker)).toHaveLength(2);
}, 40_000);

/** As Megatron does: it counts the iteration whose loss is no number, and goes on. */
const GOES_ON = `#!/bin/sh
echo ' iteration 7/ 300 | loss: 2.5E+00 | grad norm: 1.5 | number of nan iterations: 0 |'
echo ' iteration 8/ 300 | grad norm: nan | number of nan iterations: 1 |'
exec sleep 60
`;

test('a trainer that goes on though its loss is no number is ended, and that is not taken for an echo', async () => {
  const { dir, attempt } = await stagedHost(GOES_ON);
  await expect(attempt('attempt').end).rejects.toMatchObject({
    type: 'LossDiverged',
    details: [{ iteration: 8, notFinite: { iteration: 8, loss: 'nan', lossBefore: '2.5', nodes: [] } }],
  });
  expect(await readExit(dir)).toMatchObject({ reason: 'stopped', left: [] });
}, 40_000);

test("a node's last words about a loss that is no number say on which node it began", async () => {
  const words =
    'iteration 8 is not finite: loss nan, gradient norm nan, no loss before it, began on rank 1. The weights';
  const { attempt } = await stagedHost(`#!/bin/sh\necho '[Rank 0] error: ${words} are as before.'\nexit 1\n`);
  await expect(attempt('attempt').end).rejects.toMatchObject({
    type: 'LossDiverged',
    details: [{ notFinite: { iteration: 8, loss: 'nan', gradNorm: 'nan', nodes: [1] } }],
  });
}, 40_000);

test('a rank that the kernel kills for want of memory is told of as that, with the line of the kernel, and in the evidence', async (context) => {
  const group = await memoryGroup();
  const log = await kernelLines(Date.now());
  if (group === undefined || 'unread' in log)
    return context.skip('no control group can be made, or the kernel may not be heard');
  const root = await scratchFolder();
  const rank = join(root, 'rank.py');
  // A control group of its own that has no more than the rank's start needs.
  await writeFile(rank, `import os\nopen("${group}/cgroup.procs", "w").write(str(os.getpid()))\nbytearray(10**9)\n`);
  const torchrun = join(import.meta.dirname, '../../../.venv/bin/torchrun');
  const { dir, store, attempt } = await stagedHost(`#!/bin/sh\nexec ${torchrun} --nproc-per-node 1 ${rank}\n`);
  const failed: unknown = await attempt('attempt').end.catch((error: unknown) => error);
  expect(failed).toMatchObject({
    type: 'OutOfHostMemory',
    message: expect.stringMatching(
      /^Host host-a, node 0: The kernel killed a process of the trainer for want of memory: .*Killed process \d+ \(/,
    ) as string,
  });
  const doctor = { lookOnce: () => Promise.resolve({ isFit: true, checks: [] }) };
  const node = { runId: `rank-${String(process.pid)}`, generation: 1, nodeRank: 0 };
  await storeBundle({ store, host: 'host-a', node, dir, doctor });
  const kept = (await store.read(`${incidentNodeFolder(node.runId, 1, 0)}kernel.log`))?.toString();
  expect(kept).toMatch(/Killed process \d+ \(/);
}, 40_000);

test('processes that the kernel has killed for want of memory are counted by their own control group', async (context) => {
  const group = await memoryGroup();
  if (group === undefined) return context.skip('no control group can be made');
  // The one that stays shares the group with the one that needs too much.
  const script =
    'import os,sys,subprocess; open(sys.argv[1],"w").write(str(os.getpid())); print("in",flush=True); input(); subprocess.run([sys.executable,"-c","bytearray(10**9)"]); print("over",flush=True); input()';
  const child = spawn('python3', ['-c', script, join(group, 'cgroup.procs')]);
  const heard: string[] = [];
  child.stdout.on('data', (text: Buffer) => heard.push(text.toString()));
  await until('it is in the group', LIMIT_MS, () => heard.join('').includes('in') || undefined);
  const before = await countOomKills(child.pid ?? 0);
  expect(before).toMatchObject({ killed: 0 });
  child.stdin.write('\n');
  await until('the kernel has killed', LIMIT_MS, () => heard.join('').includes('over') || undefined);
  expect(before === undefined ? 0 : await oomKillsSince(before)).toBe(1);
  child.stdin.end('\n');
  await once(child, 'exit');
}, 40_000);

/** A host is taken back with real processes: whatever an earlier lease has left is ended, and only then is the host empty. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { MockActivityEnvironment } from '@temporalio/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { HostDeps } from '../../../src/activities/host/deps.js';
import { HostFence, readFence } from '../../../src/activities/host/fence.js';
import { createVacateHost } from '../../../src/activities/host/vacate-host.js';
import { trainersFolder } from '../../../src/activities/host/work-folders.js';
import type { StopTrainerResult } from '../../../src/contract/activities.js';
import { markerEnvironment } from '../../../src/process/marker.js';
import { launchTrainer } from '../../../src/process/supervisor.js';
import { readExit, trainerDir } from '../../../src/process/trainer-files.js';
import { facts } from '../../support/pool-events.js';
import { allGone, Sandbox, startedPids } from '../process/support.js';

let sandbox: Sandbox;
let fence: HostFence;
beforeEach(async () => {
  sandbox = await Sandbox.create();
  fence = new HostFence(sandbox.root, 'host-a');
});
afterEach(() => sandbox.dispose());

function vacate(under: number): Promise<StopTrainerResult> {
  const deps = { workRoot: sandbox.root, facts: facts('host-a') } as HostDeps;
  return new MockActivityEnvironment().run(createVacateHost(deps, fence), { fence: under });
}

/** A trainer of this generation with its supervisor, as an agent launches it. */
async function trainer(generation: number): Promise<{ dir: string; supervisor: number; pids: readonly number[] }> {
  const marker = sandbox.marker(generation);
  const spec = await sandbox.spec('stubborn', { marker });
  const dir = trainerDir(trainersFolder(sandbox.root), marker);
  const launched = await launchTrainer({ ...spec, dir });
  if (launched.kind !== 'started') throw new Error(launched.message);
  return { dir, supervisor: launched.supervisorPid, pids: await startedPids(spec.dir) };
}

const leased = (under: number) =>
  fence.open({
    fence: under,
    runId: sandbox.runId,
    owner: { workflowId: `run/${sandbox.runId}/train`, firstRunId: 'first', generation: 1 },
  });

test('an empty host is empty, and remembers the fence', async () => {
  expect(await vacate(7)).toEqual({ stopped: [] });
  expect(await readFence(sandbox.root)).toEqual({ fence: 7, lease: null });
});

test('a trainer that lives is ended at once with all its processes, and its report says so', async () => {
  await leased(1);
  const { dir, supervisor, pids } = await trainer(1);
  await vacate(2);
  await allGone([...pids, supervisor]);
  expect(await readExit(dir)).toMatchObject({ reason: 'stopped', left: [] });
  // Asked again, as by a pool that has lost the answer, it finds nothing to do.
  expect(await vacate(2)).toEqual({ stopped: [] });
});

test('what a killed supervisor has left is ended too', async () => {
  await leased(1);
  const { supervisor, pids } = await trainer(1);
  process.kill(supervisor, 'SIGKILL');
  const { stopped } = await vacate(2);
  await allGone([...pids, supervisor]);
  expect(pids.some((pid) => stopped.includes(pid))).toBe(true);
});

test('a judging that has outlived its agent is ended', async () => {
  await leased(1);
  const marker = markerEnvironment({ workRoot: sandbox.root, runId: sandbox.runId, stage: 'evaluate' });
  const child = spawn('sleep', ['600'], { env: { ...process.env, ...marker }, detached: true, stdio: 'ignore' });
  const gone = once(child, 'exit');
  expect(await vacate(2)).toEqual({ stopped: [child.pid] });
  await gone;
});

test('a host whose lock somebody holds that no folder tells of is dirty, and not taken for empty', async () => {
  await leased(1);
  const holder = spawn('flock', [sandbox.lockFile, 'sh', '-c', 'echo held; exec sleep 600'], {
    stdio: ['ignore', 'pipe', 'ignore'],
    detached: true,
  });
  await once(holder.stdout, 'data');
  try {
    await expect(vacate(2)).rejects.toMatchObject({ type: 'HostDirty', nonRetryable: true });
    expect(await readFence(sandbox.root)).toMatchObject({ fence: 2, lease: { runId: sandbox.runId } });
  } finally {
    process.kill(-(holder.pid ?? 0), 'SIGKILL');
  }
  expect(await vacate(2)).toEqual({ stopped: [] });
});

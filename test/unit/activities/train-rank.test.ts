/** Attempts that race for one trainer: however many there are, one starts it and all watch that one. */
import { chmod, copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ActivityCancelledError, type Client } from '@temporalio/client';
import { MockActivityEnvironment } from '@temporalio/testing';
import { expect, test } from 'vitest';
import type { HostDeps } from '../../../src/activities/host/deps.js';
import { createTrainRank } from '../../../src/activities/host/train-rank.js';
import { hostLockFile, trainersFolder } from '../../../src/activities/host/work-folders.js';
import { markedProcesses, stopEverything } from '../../../src/process/kill.js';
import { inheritedEnvironment } from '../../../src/process/marker.js';
import { trainerDir } from '../../../src/process/trainer-files.js';
import { FolderStore } from '../../../src/storage/folder-store.js';
import { demoPlan } from '../../support/demo-plan.js';
import { scratchFolder } from '../../support/scratch.js';
import { until } from '../../support/until.js';

const ATTEMPTS = 6;

test('of attempts that race for one rank, one starts the trainer and the others adopt it; a cancel ends it for all', async () => {
  const root = await scratchFolder();
  const marker = { runId: `race-${String(process.pid)}`, generation: 1, nodeRank: 0 };
  const workRoot = join(root, 'work');
  const dir = trainerDir(trainersFolder(workRoot), marker);
  await mkdir(join(dir, 'save'), { recursive: true });
  await mkdir(join(dir, 'load'));
  await writeFile(join(dir, 'load', 'latest_checkpointed_iteration.txt'), 'release');
  await writeFile(join(dir, 'plan.json'), JSON.stringify(demoPlan()));
  const bin = join(root, 'bin');
  await mkdir(bin);
  await copyFile(join(import.meta.dirname, '../../support/stand_in_torchrun.py'), join(bin, 'torchrun'));
  await chmod(join(bin, 'torchrun'), 0o755);

  let isCancelled = false;
  const beats = new Set<string>();
  const heartbeat = (token: Uint8Array): Promise<void> => {
    beats.add(Buffer.from(token).toString());
    return isCancelled ? Promise.reject(new ActivityCancelledError('cancelled')) : Promise.resolve();
  };
  const deps: HostDeps = {
    cluster: 'c',
    facts: { name: 'host-a' } as HostDeps['facts'],
    store: new FolderStore(join(root, 'store')),
    client: { activity: { heartbeat } } as unknown as Client,
    ...{ workRoot, runtimeBin: bin, trainerHome: root, toolsHome: root },
    environment: inheritedEnvironment(process.env),
    leaseTtlSeconds: 60,
    graceSeconds: 0.5,
  };
  const input = { ...marker, fence: 1, inputs: {}, masterAddress: '127.0.0.1', masterPort: 0, resumeIteration: 0 };
  const environments = Array.from(
    { length: ATTEMPTS },
    (_, index) => new MockActivityEnvironment({ taskToken: Buffer.from(`attempt ${String(index)}`) }),
  );
  const ends = environments.map((one) => one.run(createTrainRank(deps), input).catch((error: unknown) => error));
  try {
    await until('all watch', 12_000, () => beats.size === ATTEMPTS || undefined);
    const trainers = markedProcesses(marker).map(({ pid }) => pid);
    const { pid, trainer } = JSON.parse(await readFile(join(dir, 'state.json'), 'utf8')) as Record<string, number>;
    expect(trainers.sort()).toEqual([pid, trainer].sort());
  } finally {
    isCancelled = true;
    for (const one of environments) one.cancel();
    await Promise.all(ends);
    await stopEverything({ marker, lockFile: hostLockFile(workRoot), graceMs: 0 });
  }
  for (const end of await Promise.all(ends)) expect(end).toMatchObject({ name: 'CancelledFailure' });
  expect(JSON.parse(await readFile(join(dir, 'exit.json'), 'utf8'))).toMatchObject({ reason: 'stopped', left: [] });
}, 40_000);

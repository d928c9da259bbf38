/** What a watcher of saves says beside the save: what the trainers' heartbeats said, and that it took over from a watcher that is gone. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import { MockActivityEnvironment } from '@temporalio/testing';
import { beforeEach, describe, expect, test } from 'vitest';
import { createWatchSaves } from '../../../src/activities/control/watch-saves.js';
import { SaveShipper } from '../../../src/activities/host/save-shipper.js';
import { writeRunDocuments } from '../../../src/activities/run-documents.js';
import { backendFor } from '../../../src/backends/backend.js';
import type { CompleteSave, TrainProgress } from '../../../src/contract/activities.js';
import { FolderStore } from '../../../src/storage/folder-store.js';
import { demoPlan, demoSpec } from '../../support/demo-plan.js';
import { scratchFolder } from '../../support/scratch.js';

const plan = demoPlan();
const backend = backendFor({ kind: 'cpu' });
let store: FolderStore;

/** One whole save of generation 1 is in the store. */
beforeEach(async () => {
  const root = await scratchFolder();
  store = new FolderStore(join(root, 'store'));
  await writeRunDocuments(store, 'run', demoSpec(), plan);
  for (const { path, writtenBy } of plan.gang.checkpointFiles) {
    const file = join(root, String(writtenBy), backend.iterationFolder(20), path);
    await mkdir(join(file, '..'), { recursive: true });
    await writeFile(file, path);
  }
  await writeFile(join(root, '0', backend.trackerFile), '20');
  for (let nodeRank = 0; nodeRank < plan.gang.hosts; nodeRank += 1) {
    const node = { runId: 'run', generation: 1, nodeRank };
    const shipper = new SaveShipper({ store, backend, gang: plan.gang, node, folder: join(root, String(nodeRank)) });
    await shipper.turn(new AbortController().signal);
  }
});

const node = (rest: Partial<TrainProgress>): TrainProgress => ({
  ...{ host: 'host-a', phase: 'training', generation: 1, iteration: 20, iterations: 300 },
  ...{ at: 0, quietSeconds: 0, shippedIteration: 20, ...rest },
});

/** A server whose gang has these trainers pending; one that is away when left out. */
function server(said?: readonly TrainProgress[]): Client {
  const describe = () => {
    if (said === undefined) return Promise.reject(new Error('14 UNAVAILABLE'));
    const pendingActivities = said.map((progress) => ({
      activityType: { name: 'trainRank' },
      heartbeatDetails: { payloads: [defaultPayloadConverter.toPayload(progress)] },
    }));
    return Promise.resolve({ raw: { pendingActivities } });
  };
  return {
    connection: { withDeadline: (_: number, call: () => Promise<unknown>) => call() },
    workflow: { getHandle: () => ({ describe }) },
  } as unknown as Client;
}

async function watch(
  client: Client,
  attempt: { readonly attempt?: number; readonly heartbeatDetails?: unknown } = {},
): Promise<CompleteSave | null> {
  const timing = { heartbeatSeconds: 1, attachSeconds: 1 };
  const watchSaves = createWatchSaves({ store, cluster: 'c', namespace: 'default', client, timing });
  const input = { runId: 'run', generation: 1, afterIteration: 0, once: true };
  return new MockActivityEnvironment(attempt).run(watchSaves, input);
}

describe('with a save', () => {
  test('come the words of the gang', async () => {
    const reporting = node({ host: 'host-b', iteration: 23, loss: 0.5, secondsPerIteration: 2, adopted: true });
    const save = await watch(server([node({}), reporting, node({ generation: 2, iteration: 99 })]));
    expect(save?.words).toEqual({ iteration: 23, loss: 0.5, secondsPerIteration: 2, adopted: ['host-b'] });
  });

  test('a server that is away costs the words and not the save', async () => {
    const save = await watch(server());
    expect(save).toMatchObject({ iteration: 20 });
    expect(save).not.toHaveProperty('words');
  });

  test.each([
    ['a first attempt', {}, undefined],
    ['an attempt after one that was left by its worker', { attempt: 2, heartbeatDetails: { hasFailed: false } }, true],
    ['an attempt after one that failed by itself', { attempt: 2, heartbeatDetails: { hasFailed: true } }, undefined],
    ['an attempt after one that was never heard', { attempt: 2 }, undefined],
  ])('%s says whether its worker took over', async (_, attempt, expected) => {
    expect((await watch(server([]), attempt))?.workerReplaced).toBe(expected);
  });
});

test('a watcher that fails says so with its last beat', async () => {
  const beats: unknown[] = [];
  const away = { read: () => Promise.reject(new Error('broken')) } as unknown as FolderStore;
  const watchSaves = createWatchSaves({
    ...{ store: away, cluster: 'c', namespace: 'default', client: server([]) },
    timing: { heartbeatSeconds: 1, attachSeconds: 1 },
  });
  const environment = new MockActivityEnvironment({ attempt: 1 });
  environment.on('heartbeat', (details) => beats.push(details));
  const input = { runId: 'run', generation: 1, afterIteration: 0, once: true };
  await expect(environment.run(watchSaves, input)).rejects.toThrow('broken');
  expect(beats).toEqual([{ hasFailed: true }]);
});

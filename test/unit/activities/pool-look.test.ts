/** What the control worker sees of hosts and owners, and what it makes of it: against a server that says what the test says. */
import { join } from 'node:path';
import { MockActivityEnvironment } from '@temporalio/testing';
import { WorkflowNotFoundError, type Client } from '@temporalio/client';
import { describe, expect, test } from 'vitest';
import type { ControlDeps } from '../../../src/activities/control/deps.js';
import { createHosts } from '../../../src/activities/control/hosts.js';
import { createOpenRun } from '../../../src/activities/control/open-run.js';
import type { HostChanges } from '../../../src/contract/activities.js';
import type { PoolState } from '../../../src/contract/messages.js';
import { ioQueue, poolWorkflowId } from '../../../src/contract/names.js';
import type { LeaseOwner } from '../../../src/plan/hosts.js';
import { waitingOf } from '../../../src/plan/queue.js';
import { checkSpec } from '../../../src/spec/check.js';
import { FolderStore } from '../../../src/storage/folder-store.js';
import { free, owner, request, Scene, seen } from '../../support/pool-events.js';
import { scratchFolder } from '../../support/scratch.js';
import { smallSpec } from '../../support/small-run.js';

interface Server {
  readonly scene: Scene;
  readonly joinedAt?: number;
  /** Hosts whose worker has been heard of lately. */
  readonly heard?: readonly string[];
  /** By workflow id: the first run id while it runs, or null when it has closed; others are forgotten. */
  readonly workflows?: Readonly<Record<string, string | null>>;
}

function clientOf({ scene, joinedAt = 0, heard = [], workflows = {} }: Server): Client {
  const { hosts, queue } = scene.answers.pool;
  const state: PoolState = { hosts, waiting: waitingOf(hosts, queue), joinedAt };
  const handle = (id: string) => ({
    query: () => Promise.resolve(id === poolWorkflowId('lab') ? state : undefined),
    describe: () => {
      const firstRunId = workflows[id];
      if (firstRunId === undefined) return Promise.reject(new WorkflowNotFoundError('forgotten', id, undefined));
      const status = { name: firstRunId === null ? 'TERMINATED' : 'RUNNING' };
      return Promise.resolve({ status, raw: { workflowExecutionInfo: { firstRunId: firstRunId ?? 'first' } } });
    },
  });
  const workersInfo = heard.map((host) => ({ workerHeartbeat: { taskQueue: ioQueue('lab', host) } }));
  return {
    workflow: { getHandle: handle, start: () => Promise.resolve() },
    workflowService: { listWorkers: () => Promise.resolve({ workersInfo, nextPageToken: new Uint8Array() }) },
  } as unknown as Client;
}

describe('the look at the cluster', () => {
  const look = (server: Server): Promise<HostChanges> => {
    const deps = { client: clientOf(server), cluster: 'lab', namespace: 'default' } as ControlDeps;
    return new MockActivityEnvironment().run(createHosts(deps).watchHosts, { cluster: 'lab' });
  };

  test('tells of hosts that have fallen silent and that are heard of again', async () => {
    const scene = new Scene().turn(...free('a', 'b', 'c'), seen([], ['b', 'c']));
    expect(await look({ scene, heard: ['b'] })).toEqual({ live: ['b'], lost: ['a'], ended: [] });
  });

  const [running, closed, replaced, forgotten, waiting] = ['running', 'closed', 'replaced', 'forgotten', 'waiting'].map(
    (name) => owner(name),
  ) as [LeaseOwner, LeaseOwner, LeaseOwner, LeaseOwner, LeaseOwner];

  test('tells of owners whose workflow has closed, was replaced or is forgotten, and not of one that runs; of those who wait too', async () => {
    const names = ['a', 'b', 'c', 'd'];
    const scene = new Scene().turn(
      ...free(...names),
      ...[running, closed, replaced, forgotten].map((one) => request(one, 1)),
      request(waiting, 4),
    );
    const workflows = { running: 'first', closed: null, replaced: 'second', waiting: null };
    expect(await look({ scene, heard: names, workflows })).toEqual({
      live: [],
      lost: [],
      ended: [closed, replaced, forgotten, waiting],
    });
  });
});

describe('a run that opens on a cluster with too few hosts', () => {
  async function open(registered: readonly string[], joinedAt: number): Promise<unknown> {
    const store = new FolderStore(join(await scratchFolder(), 'store'));
    const cpu = { runtime: 'cpu', npus: 1 } as const;
    const scene = new Scene().turn(...free(...registered));
    const hosts = scene.answers.pool.hosts.map((host) => ({ ...host, facts: { ...host.facts, ...cpu } }));
    scene.answers = { ...scene.answers, pool: { ...scene.answers.pool, hosts } };
    const timing = { heartbeatSeconds: 1, attachSeconds: 1 };
    const deps = { client: clientOf({ scene, joinedAt }), cluster: 'lab', namespace: 'default', store, timing };
    const checked = checkSpec(smallSpec({ data: '/data', iterations: 10 }));
    if ('refusals' in checked) throw new Error(JSON.stringify(checked.refusals));
    return new MockActivityEnvironment().run(createOpenRun(deps), { runId: 'r', cluster: 'lab', spec: checked.spec });
  }

  test('waits while agents may still be starting, then is refused with both numbers', async () => {
    await expect(open(['a'], Date.now())).rejects.toMatchObject({ type: 'NoHost', nonRetryable: false });
    await expect(open(['a'], Date.now() - 61_000)).rejects.toMatchObject({
      type: 'ClusterTooSmall',
      nonRetryable: true,
      message:
        'The run needs 2 hosts with 1 cpu NPUs each; cluster "lab" has 1 (1 free, 0 leased, 0 silent). Lay it out on fewer hosts, or start agents on more.',
    });
  });

  test('is opened when there are enough', async () => {
    await expect(open(['a', 'b'], 0)).resolves.toMatchObject({ hosts: 2 });
  });
});

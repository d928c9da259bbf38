/** The host's fence: work of a lease that is over is refused, also after a restart of the agent, and nothing begins while one is taken back. */
import { setTimeout as delay } from 'node:timers/promises';
import { beforeEach, describe, expect, test } from 'vitest';
import { HostFence, readFence, type UnderLease } from '../../../src/activities/host/fence.js';
import { scratchFolder } from '../../support/scratch.js';

let workRoot: string;
let fence: HostFence;
beforeEach(async () => {
  workRoot = await scratchFolder();
  fence = new HostFence(workRoot, 'host-a');
});

const lease = (number: number, runId = 'r'): UnderLease => ({
  fence: number,
  runId,
  owner: { workflowId: `run/${runId}/train`, firstRunId: 'first', generation: 1 },
});
const stale = { type: 'StaleGeneration' };

describe('a lease', () => {
  test('under a lower fence than one seen is refused, the same and a higher one pass', async () => {
    await fence.open(lease(3));
    await fence.open(lease(3));
    await fence.open(lease(5));
    await expect(fence.open(lease(4))).rejects.toMatchObject({
      ...stale,
      message: 'Host host-a was leased or taken back since (fence 5); work under fence 4 is refused.',
    });
  });

  test('is remembered on disk with its owner, for the next agent', async () => {
    expect(await readFence(workRoot)).toEqual({ fence: 0, lease: null });
    await fence.open(lease(3, 'mine'));
    expect(await readFence(workRoot)).toMatchObject({ fence: 3, lease: { runId: 'mine', owner: { generation: 1 } } });
    const next = new HostFence(workRoot, 'host-a');
    await expect(next.starting(2, () => Promise.resolve())).rejects.toMatchObject(stale);
    await expect(next.starting(3, () => Promise.resolve('begun'))).resolves.toBe('begun');
  });

  test('under the number by which the host was taken back is refused: a pool that was started anew has counted to it again', async () => {
    await fence.vacate(4, () => Promise.resolve());
    await expect(fence.open(lease(4))).rejects.toMatchObject(stale);
    await expect(fence.working(lease(4), () => Promise.resolve())).rejects.toMatchObject(stale);
    expect(await readFence(workRoot)).toEqual({ fence: 4, lease: null });
    // Nor does it help to have been there before: what was staged in then is not launched.
    await fence.open(lease(5, 'mine'));
    await fence.vacate(5, () => Promise.resolve());
    await expect(fence.starting(5, () => Promise.resolve())).rejects.toMatchObject(stale);
    await fence.open(lease(6, 'other'));
    await expect(fence.open(lease(6, 'mine'))).rejects.toMatchObject(stale);
  });

  test('that two ask for at once ends with the higher one, in whatever order they come', async () => {
    await Promise.allSettled([fence.open(lease(2)), fence.open(lease(9)), fence.open(lease(4))]);
    expect((await readFence(workRoot)).fence).toBe(9);
  });
});

describe('taking a host back', () => {
  test('stores the fence before anything is stopped, and forgets the lease only when the host is proven empty', async () => {
    await fence.open(lease(3, 'mine'));
    const during = await fence.vacate(4, async (last) => ({ last: last?.runId, on: await readFence(workRoot) }));
    expect(during).toMatchObject({ last: 'mine', on: { fence: 4, lease: { runId: 'mine' } } });
    expect(await readFence(workRoot)).toEqual({ fence: 4, lease: null });
    await expect(fence.starting(3, () => Promise.resolve())).rejects.toMatchObject(stale);
  });

  test('that fails keeps the fence and whose lease it was, for the next try', async () => {
    await fence.open(lease(3, 'mine'));
    await expect(fence.vacate(4, () => Promise.reject(new Error('dirty')))).rejects.toThrow('dirty');
    expect(await readFence(workRoot)).toMatchObject({ fence: 4, lease: { runId: 'mine' } });
  });

  test('under a fence that is over itself stops nothing', async () => {
    await fence.open(lease(5));
    let stopped = false;
    const late = fence.vacate(4, () => Promise.resolve((stopped = true)));
    await expect(late).rejects.toMatchObject(stale);
    expect(stopped).toBe(false);
  });

  test('waits for a launch that has begun, and lets the next one wait', async () => {
    await fence.open(lease(3));
    const order: string[] = [];
    const slow = async (what: string): Promise<void> => {
      order.push(`${what} begins`);
      await delay(20);
      order.push(`${what} ends`);
    };
    await Promise.all([
      fence.starting(3, () => slow('launch')),
      fence.vacate(4, () => slow('vacate')),
      fence.open(lease(5)).then(() => order.push('opened')),
    ]);
    expect(order).toEqual(['launch begins', 'launch ends', 'vacate begins', 'vacate ends', 'opened']);
  });

  test('ends work that goes on under the lease, and waits for its end', async () => {
    let ended = false;
    const work = fence.working(lease(3), async (over) => {
      await new Promise((resolve) => {
        over.addEventListener('abort', resolve);
      });
      await delay(20);
      ended = true;
      throw over.reason;
    });
    const failed = expect(work).rejects.toMatchObject(stale);
    expect(await fence.vacate(4, () => Promise.resolve(ended))).toBe(true);
    await failed;
  });
});

/** The silence of a trainer, as an agent hears it that was frozen itself: time in which it did not look does not count. */
import { expect, test } from 'vitest';
import { watchForHang } from '../../../src/activities/host/hang-watch.js';
import type { RankWork } from '../../../src/activities/host/rank-work.js';
import { pause } from '../../../src/process/wait.js';

const LIMIT_SECONDS = 3;

test('an agent that wakes up gives its trainer the time to wake up too, and then counts on', async () => {
  const log = { moves: 1, phase: 'starting', iteration: 0, lines: [] };
  const work = {
    deps: { facts: { name: 'host-a' } },
    input: { nodeRank: 0 },
    plan: { gang: { reportingNode: 0 }, limits: { startSeconds: LIMIT_SECONDS } },
    log,
  } as unknown as RankWork;
  const over = new AbortController();
  const ended: unknown[] = [];
  const hang = watchForHang(work, over.signal).catch((error: unknown) => ended.push(error));
  // Nothing runs in this process meanwhile, as under SIGSTOP.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, (LIMIT_SECONDS + 2) * 1000);
  await pause(200);
  expect(ended).toEqual([]);
  await hang;
  expect(ended).toMatchObject([{ type: 'Hung' }]);
  over.abort();
}, 20_000);

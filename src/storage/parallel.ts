/** A bounded number of tasks at once, ended as one: the first failure stops the others, and nothing of them runs on after the call. */
import { setMaxListeners } from 'node:events';
import pLimit from 'p-limit';

/**
 * Runs `task` over all items, at most `limit` at once, and answers in the order of the items. Unlike `Promise.all` it rejects only when
 * every started task has ended, with the first cause: whoever cleans up after it never races with a late writer.
 */
export async function runParallel<Item, Result>(
  items: readonly Item[],
  limit: number,
  signal: AbortSignal | undefined,
  task: (item: Item, signal: AbortSignal) => Promise<Result>,
): Promise<Result[]> {
  const stop = new AbortController();
  const linked = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
  // All tasks listen to it; Node warns of more than ten as of a leak.
  setMaxListeners(0, linked);
  const atMost = pLimit(limit);
  const outcomes = await Promise.allSettled(
    items.map((item) =>
      atMost(async () => {
        linked.throwIfAborted();
        try {
          return await task(item, linked);
        } catch (error) {
          stop.abort(error);
          throw error;
        }
      }),
    ),
  );
  signal?.throwIfAborted();
  stop.signal.throwIfAborted();
  return outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
}

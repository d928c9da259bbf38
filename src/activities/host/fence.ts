/**
 * The host's fence: the highest lease number seen, kept on disk with whose lease that was. Work under a lower one comes from a
 * lease that is over. One agent lives on a host, so a lock in its memory is enough to let nothing begin while a lease is taken back.
 */
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { isSameOwner, type LeaseOwner } from '../../plan/hosts.js';
import { readJson, replaceFile } from '../../process/trainer-files.js';
import { pause } from '../../process/wait.js';
import { failure } from '../fail.js';
import { fenceFile } from './work-folders.js';

/** A command that is aborted has five seconds to end, and is killed then; the rest is closing files. */
const END_LIMIT_MS = 30_000;

const leaseOwner = z.object({ workflowId: z.string(), firstRunId: z.string(), generation: z.number().int() });
const lastLease = z.object({ owner: leaseOwner, runId: z.string() });
const fenceRecord = z.object({ fence: z.number().int(), lease: lastLease.nullable() });

/** Whose lease the host had last; kept until what ran under it is proven gone. */
export type LastLease = Readonly<z.infer<typeof lastLease>>;
export type FenceRecord = Readonly<z.infer<typeof fenceRecord>>;

export interface UnderLease {
  readonly fence: number;
  readonly owner: LeaseOwner;
  readonly runId: string;
}

/** Fence 0 on a host that was never leased. */
export async function readFence(workRoot: string): Promise<FenceRecord> {
  return (await readJson(fenceFile(workRoot), fenceRecord)) ?? { fence: 0, lease: null };
}

export class HostFence {
  readonly #workRoot: string;
  readonly #host: string;
  /** The end of whatever has the lock or waits for it. */
  #last: Promise<unknown> = Promise.resolve();
  /** Work that goes on under a lease, beside the trainers, which have supervisors of their own. */
  readonly #working = new Map<AbortController, Promise<unknown>>();

  constructor(workRoot: string, host: string) {
    this.#workRoot = workRoot;
    this.#host = host;
  }

  /** Before anything of a lease begins: stores a higher fence with its owner, and refuses a lower one. */
  async open(lease: UnderLease): Promise<void> {
    await this.#exclusively(() => this.#begin(lease));
  }

  /** Runs `start` while no lease can be taken back, so that what it starts is seen by whoever takes this one back. */
  async starting<Result>(fence: number, start: () => Promise<Result>): Promise<Result> {
    return this.#exclusively(async () => {
      const { fence: seen, lease } = await readFence(this.#workRoot);
      // Under its own number the host may have been taken back: see `#begin`.
      if (fence < seen || lease === null) throw this.#stale(fence, seen);
      return start();
    });
  }

  /** Runs `work` under a lease; its signal is aborted when the lease is taken back, which waits for its end. */
  async working<Result>(lease: UnderLease, work: (over: AbortSignal) => Promise<Result>): Promise<Result> {
    const over = new AbortController();
    const done = await this.#exclusively(async () => {
      await this.#begin(lease);
      const running = work(over.signal);
      this.#working.set(over, running);
      return { running };
    });
    try {
      return await done.running;
    } finally {
      this.#working.delete(over);
    }
  }

  /**
   * Takes the host back: stores the fence, *then* ends what is under way and lets `prove` end and prove the rest, which is told
   * whose lease was the last. Nothing begins meanwhile.
   */
  async vacate<Result>(fence: number, prove: (last: LastLease | null) => Promise<Result>): Promise<Result> {
    return this.#exclusively(async () => {
      const { lease } = await readFence(this.#workRoot);
      await this.#store(fence, lease);
      await this.#endWorking(fence);
      const result = await prove(lease);
      await this.#write({ fence, lease: null });
      return result;
    });
  }

  /** Bounded, or work that does not end would keep the lock, and with it the host, for ever. */
  async #endWorking(fence: number): Promise<void> {
    for (const over of this.#working.keys()) over.abort(this.#stale(fence - 1, fence));
    const ended = Promise.allSettled(this.#working.values()).then(() => true);
    const late = new AbortController();
    const hasEnded = await Promise.race([ended, pause(END_LIMIT_MS, late.signal).then(() => false)]);
    late.abort();
    if (!hasEnded) throw failure('HostDirty', `Host ${this.#host}: work of an earlier lease does not end.`);
  }

  async #exclusively<Result>(body: () => Promise<Result>): Promise<Result> {
    const turn = this.#last.then(body);
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  /**
   * A pool that was started anew counts on from what the host has seen. A grant that its predecessor made in its last moment, and that the
   * host has not seen, has the number under which the new pool takes the host back: whose the number is decides.
   */
  async #begin({ fence, owner, runId }: UnderLease): Promise<void> {
    const { fence: seen, lease } = await readFence(this.#workRoot);
    if (fence === seen && (lease === null || !isSameOwner(lease.owner, owner))) throw this.#stale(fence, seen);
    await this.#store(fence, { owner, runId });
  }

  async #store(fence: number, lease: LastLease | null): Promise<void> {
    const before = await readFence(this.#workRoot);
    if (fence < before.fence) throw this.#stale(fence, before.fence);
    if (fence > before.fence) await this.#write({ fence, lease });
  }

  async #write(record: FenceRecord): Promise<void> {
    const file = fenceFile(this.#workRoot);
    await mkdir(dirname(file), { recursive: true });
    await replaceFile(file, JSON.stringify(record), { durable: true });
  }

  #stale(fence: number, seen: number): Error {
    return failure(
      'StaleGeneration',
      `Host ${this.#host} was leased or taken back since (fence ${String(seen)}); work under fence ${String(fence)} is refused.`,
    );
  }
}

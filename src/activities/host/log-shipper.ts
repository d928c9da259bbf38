/**
 * Sends a growing log to the store in chunks named by the offset of their first byte. A chunk that is sent again after a
 * restart is the same object or a longer one of which the first bytes are there already, so nothing is lost or doubled.
 */
import { open } from 'node:fs/promises';
import { logChunkKey, logPrefix } from '../../contract/store-keys.js';
import { listChunks } from '../../storage/chunks.js';
import type { ObjectStore } from '../../storage/object-store.js';

/** Small enough for memory, large enough that a day of training is some thousand objects at most. */
const CHUNK_BYTES = 256 * 1024;
const EVERY_MS = 5000;

export interface LogShipment {
  readonly store: ObjectStore;
  readonly runId: string;
  /** The log's name in the store. */
  readonly log: string;
  readonly path: string;
  /** Brings the file up to date, where it is made of another one. */
  readonly update?: (() => Promise<void>) | undefined;
}

export interface ShippedLog {
  /** Sends what is there now. Rejects when the store does not take it; the next turn goes on from the same byte. */
  flush(): Promise<void>;
  /** Sends what is left and ends. */
  stop(): Promise<void>;
}

/** Ships until `stop` is called. A store that is away delays a log, it fails nobody but who has asked for a `flush`. */
export function shipLog(shipment: LogShipment): ShippedLog {
  let offset: number | undefined;
  let busy: Promise<unknown> = Promise.resolve();
  const flush = (): Promise<void> => {
    const mine = busy.then(async () => {
      await shipment.update?.();
      offset = await shipOnce(shipment, offset ?? (await shippedBytes(shipment)));
    });
    busy = mine.catch(() => undefined);
    return mine;
  };
  const quietly = (): Promise<void> => flush().catch(() => undefined);
  const timer = setInterval(() => void quietly(), EVERY_MS);
  return {
    flush,
    async stop() {
      clearInterval(timer);
      await quietly();
    },
  };
}

async function shipOnce({ store, runId, log, path }: LogShipment, from: number): Promise<number> {
  const file = await open(path, 'r').catch(() => undefined);
  if (file === undefined) return from;
  try {
    let offset = from;
    const buffer = Buffer.alloc(CHUNK_BYTES);
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, CHUNK_BYTES, offset);
      if (bytesRead === 0) return offset;
      const outcome = await store.create(logChunkKey(runId, log, offset), Buffer.from(buffer.subarray(0, bytesRead)));
      // Another attempt has sent a shorter or longer chunk from here: go on behind it.
      offset = outcome === 'different' ? await shippedBytes({ store, runId, log }) : offset + bytesRead;
    }
  } finally {
    await file.close();
  }
}

/** Where an earlier attempt left off: behind the last chunk that is there. */
async function shippedBytes({ store, runId, log }: Omit<LogShipment, 'path' | 'update'>): Promise<number> {
  const chunks = await listChunks(store, logPrefix(runId, log));
  return chunks.reduce((end, { offset, sizeBytes }) => Math.max(end, offset + sizeBytes), 0);
}

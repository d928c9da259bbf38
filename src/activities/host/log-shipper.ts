/**
 * Sends a growing log to the store in chunks named by the offset of their first byte. A chunk that is sent again after a
 * restart is the same object or a longer one of which the first bytes are there already, so nothing is lost or doubled.
 */
import { open } from 'node:fs/promises';
import { logChunkKey } from '../../contract/store-keys.js';
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
}

/** Ships until `stop` is called, which sends what is left. A store that is away delays a log, it fails nobody. */
export function shipLog(shipment: LogShipment): { stop(): Promise<void> } {
  let offset: number | undefined;
  let busy: Promise<void> = Promise.resolve();
  const turn = (): void => {
    busy = busy.then(async () => {
      try {
        offset = await shipOnce(shipment, offset ?? (await shippedBytes(shipment)));
      } catch {
        // The next turn tries again from the same offset.
      }
    });
  };
  const timer = setInterval(turn, EVERY_MS);
  return {
    async stop() {
      clearInterval(timer);
      turn();
      await busy;
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
      if (outcome === 'different') return await shippedBytes({ store, runId, log, path });
      offset += bytesRead;
    }
  } finally {
    await file.close();
  }
}

/** Where an earlier attempt left off: behind the last chunk that is there. */
async function shippedBytes({ store, runId, log }: LogShipment): Promise<number> {
  let end = 0;
  const prefix = logChunkKey(runId, log, 0).replace(/[^/]*$/, '');
  for await (const { key, sizeBytes } of store.list(prefix)) {
    const offset = Number(/(\d+)\.log$/.exec(key)?.[1] ?? Number.NaN);
    if (Number.isFinite(offset)) end = Math.max(end, offset + sizeBytes);
  }
  return end;
}

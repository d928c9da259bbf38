/**
 * A growing file as create-once objects: chunks below a prefix, each named by the offset of its first byte, as
 * `runs/a/logs/train-g1-node0/000000000000.log`. A writer that is retried sends the same chunk, or goes on behind the last one.
 */
import type { ObjectStore } from './object-store.js';
import { runParallel } from './parallel.js';

export interface Chunk {
  readonly key: string;
  readonly offset: number;
  readonly sizeBytes: number;
}

const chunkName = /^(\d{12})\.log$/;
/** Reads at once: enough to hide a store's latency, few enough for a laptop. */
const parallelReads = 8;

/** The chunks of one file in the order of their bytes. Names that no writer of chunks makes are passed over. */
export async function listChunks(store: Pick<ObjectStore, 'list'>, prefix: string): Promise<readonly Chunk[]> {
  const chunks: Chunk[] = [];
  for await (const { key, sizeBytes } of store.list(prefix)) {
    const offset = chunkName.exec(key.slice(prefix.length))?.[1];
    if (offset !== undefined) chunks.push({ key, offset: Number(offset), sizeBytes });
  }
  return chunks.sort((a, b) => a.offset - b.offset);
}

/**
 * What is there of the file: runs of bytes without a gap. A chunk that is missing divides two of them; where chunks overlap, as
 * those of two attempts at one time may, each byte is taken once.
 */
export async function readChunks(store: ObjectStore, prefix: string, signal?: AbortSignal): Promise<readonly Buffer[]> {
  const chunks = await listChunks(store, prefix);
  const read = await runParallel(chunks, parallelReads, signal, async ({ key, offset }) => ({
    offset,
    bytes: (await store.read(key)) ?? Buffer.alloc(0),
  }));
  const runs: Buffer[][] = [];
  let end = -1;
  for (const { offset, bytes } of read) {
    if (offset + bytes.byteLength <= end) continue;
    if (offset > end) runs.push([]);
    runs.at(-1)?.push(offset > end ? bytes : bytes.subarray(end - offset));
    end = offset + bytes.byteLength;
  }
  return runs.map((run) => Buffer.concat(run));
}

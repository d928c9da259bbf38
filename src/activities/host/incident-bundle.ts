/**
 * What a host knows of a generation that broke, brought to the store before anything here is wiped or turns over: the end of the trainer's
 * log, its stacks, CANN's own logs, its exit and its environment. Bounded in bytes, files and time, since the next generation waits.
 */
import { open, readdir, readFile, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join, relative } from 'node:path';
import { incidentNodeFolder } from '../../contract/store-keys.js';
import type { GangInput } from '../../contract/activities.js';
import { withoutSecrets } from '../../process/marker.js';
import { STACKS_MARK } from '../../process/stacks.js';
import { pause } from '../../process/wait.js';
import type { ObjectStore } from '../../storage/object-store.js';
import { runParallel } from '../../storage/parallel.js';

/** Of the trainer's log: some thousand lines, with the traceback of every rank of a host. */
const LOG_BYTES = 512 * 1024;
/** Of one log of CANN, which has one for each process: at the level of errors a whole life. */
const PLOG_BYTES = 256 * 1024;
const PLOG_FILES = 48;
const PLOG_TOTAL_BYTES = 6 * 1024 * 1024;
/** A store that is away takes no bundle, and the gang goes on. */
const LIMIT_MS = 10_000;
const AT_ONCE = 8;

interface Part {
  readonly path: string;
  readonly body: Buffer;
  /** How large the file is of which this is the end. */
  readonly ofBytes: number;
}

export interface Broken {
  readonly store: ObjectStore;
  readonly host: string;
  readonly node: GangInput;
  /** The trainer's folder. */
  readonly dir: string;
}

/** Returns how many files are in the store; none when it did not take them in time. Never fails: a gang must not wait for its papers. */
export async function storeBundle(broken: Broken): Promise<number> {
  const ending = new AbortController();
  const stored = storeParts(broken, ending.signal).catch(() => 0);
  const files = await Promise.race([stored, pause(LIMIT_MS).then(() => 0)]);
  ending.abort();
  return files;
}

async function storeParts({ store, host, node, dir }: Broken, signal: AbortSignal): Promise<number> {
  const parts = [
    ...(await endOf(dir, 'trainer.log', LOG_BYTES)),
    ...(await stacks(dir)),
    ...(await endOf(dir, 'exit.json', LOG_BYTES)),
    ...(await endOf(dir, 'supervisor.log', LOG_BYTES)),
    ...(await environment(dir)),
  ];
  const { taken, leftOut } = await plogs(dir);
  const all = [...parts, ...taken];
  if (all.length === 0) return 0;
  const folder = incidentNodeFolder(node.runId, node.generation, node.nodeRank);
  await runParallel(all, AT_ONCE, signal, ({ path, body }) => store.create(`${folder}${path}`, body, { signal }));
  const files = all.map(({ path, body, ofBytes }) => ({ path, bytes: body.length, ofBytes }));
  const index = { host, machine: hostname(), generation: node.generation, nodeRank: node.nodeRank, files, leftOut };
  // Last, so that it tells of files that are there.
  await store.create(`${folder}index.json`, `${JSON.stringify(index, null, 2)}\n`, { signal });
  return all.length + 1;
}

/** The last bytes of a file that is there, from the beginning of a line. */
async function endOf(dir: string, path: string, bytes: number): Promise<readonly Part[]> {
  const file = await open(join(dir, path), 'r').catch(() => undefined);
  if (file === undefined) return [];
  try {
    const { size } = await file.stat();
    const from = Math.max(0, size - bytes);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(size - from), 0, size - from, from);
    const read = buffer.subarray(0, bytesRead);
    return [{ path, body: from === 0 ? read : read.subarray(read.indexOf(10) + 1), ofBytes: size }];
  } finally {
    await file.close();
  }
}

/** Where the ranks stood, if anybody has asked before the trainer was ended: they stand in its own log. */
async function stacks(dir: string): Promise<readonly Part[]> {
  const [log] = await endOf(dir, 'trainer.log', LOG_BYTES);
  const from = log?.body.indexOf(STACKS_MARK) ?? -1;
  return log === undefined || from < 0 ? [] : [{ ...log, path: 'stacks.log', body: log.body.subarray(from) }];
}

/** What the trainer was started with. */
async function environment(dir: string): Promise<readonly Part[]> {
  const text = await readFile(join(dir, 'launch.json'), 'utf8').catch(() => undefined);
  if (text === undefined) return [];
  const { argv, env, cwd } = JSON.parse(text) as Record<'argv' | 'cwd', unknown> & { env: Record<string, string> };
  const body = Buffer.from(`${JSON.stringify({ argv, cwd, env: withoutSecrets(env) }, null, 2)}\n`);
  return [{ path: 'launch.json', body, ofBytes: body.length }];
}

/** Those that were written last, since one that has died of itself wrote its reason last; what is too much is named. */
async function plogs(dir: string): Promise<{ readonly taken: readonly Part[]; readonly leftOut: readonly string[] }> {
  const found = await Promise.all(
    (await readdir(join(dir, 'plog'), { recursive: true, withFileTypes: true }).catch(() => []))
      .filter((entry) => entry.isFile())
      .map(async (entry) => {
        const path = join(entry.parentPath, entry.name);
        return { path: relative(dir, path), writtenAt: (await stat(path)).mtimeMs };
      }),
  );
  const newest = found.toSorted((a, b) => b.writtenAt - a.writtenAt).map(({ path }) => path);
  const taken: Part[] = [];
  let bytes = 0;
  for (const path of newest.slice(0, PLOG_FILES)) {
    const [part] = await endOf(dir, path, PLOG_BYTES);
    if (part === undefined || bytes + part.body.length > PLOG_TOTAL_BYTES) break;
    taken.push(part);
    bytes += part.body.length;
  }
  return { taken, leftOut: newest.slice(taken.length, taken.length + PLOG_FILES) };
}

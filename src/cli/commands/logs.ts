/** `anneal logs RUN`: what the trainers and the commands of a run printed, from the store. */
import { setTimeout as pause } from 'node:timers/promises';
import type { ObjectStore } from '../../storage/object-store.js';
import { runFolder } from '../../contract/store-keys.js';
import { CommandError, EXIT_CODES } from '../exit-codes.js';
import { note, printJson } from '../output.js';
import { openStore } from '../store.js';
import type { WhereFlags } from '../where.js';

export interface LogsFlags extends WhereFlags {
  readonly stage?: string;
  readonly node?: string;
  readonly follow?: boolean;
  readonly json?: boolean;
}

export interface LogChunk {
  readonly key: string;
  readonly offset: number;
  readonly sizeBytes: number;
}
export interface StoredLog {
  /** `train-g2-node0`, `convert`, ... */
  readonly name: string;
  readonly chunks: readonly LogChunk[];
}

const FOLLOW_POLL_MS = 1_000;

export async function logs(runId: string, flags: LogsFlags): Promise<number> {
  const store = await openStore(flags);
  const chosen = (all: readonly StoredLog[]): readonly StoredLog[] => all.filter(({ name }) => isChosen(name, flags));
  let found = chosen(await listLogs(store, runId));
  if (found.length === 0 && !flags.follow)
    throw new CommandError(
      'notFound',
      `Run "${runId}" has no such log in ${store.url}. Its stages write there while they run; "anneal runs" lists the runs.`,
    );
  if (flags.json) {
    printJson(found);
    return EXIT_CODES.ok.code;
  }
  const printed: Printed = { ends: new Map(), last: undefined };
  for (;;) {
    for (const log of found) await printNew(store, log, printed, found.length > 1);
    if (!flags.follow) return EXIT_CODES.ok.code;
    await pause(FOLLOW_POLL_MS); // Ctrl-C ends it.
    found = chosen(await listLogs(store, runId));
  }
}

/** The logs of a run with their chunks in order of the bytes. */
export async function listLogs(store: Pick<ObjectStore, 'list'>, runId: string): Promise<readonly StoredLog[]> {
  const prefix = `${runFolder(runId)}logs/`;
  const logs = new Map<string, LogChunk[]>();
  for await (const { key, sizeBytes } of store.list(prefix)) {
    const [, name, offset] = /^(.+)\/(\d{12})\.log$/.exec(key.slice(prefix.length)) ?? [];
    if (name === undefined || offset === undefined) continue;
    logs.set(name, [...(logs.get(name) ?? []), { key, offset: Number(offset), sizeBytes }]);
  }
  return [...logs].map(([name, chunks]) => ({ name, chunks: chunks.sort((a, b) => a.offset - b.offset) }));
}

export function isChosen(name: string, { stage, node }: Pick<LogsFlags, 'stage' | 'node'>): boolean {
  if (stage !== undefined && name !== stage && !name.startsWith(`${stage}-`)) return false;
  return node === undefined || name.endsWith(`-node${node}`);
}

interface Printed {
  /** Past the last printed byte of each log. */
  readonly ends: Map<string, number>;
  /** Whose bytes were written last: a heading stands only where the log changes. */
  last: string | undefined;
}

async function printNew(
  store: ObjectStore,
  { name, chunks }: StoredLog,
  printed: Printed,
  isOneOfMany: boolean,
): Promise<void> {
  for (const { key, offset, sizeBytes } of chunks) {
    const end = printed.ends.get(name) ?? 0;
    if (offset + sizeBytes <= end) continue;
    if (isOneOfMany && printed.last !== name) note(`==> ${name} <==`);
    printed.last = name;
    if (offset > end) note(`(${String(offset - end)} bytes of ${name} are not in the store)`);
    const bytes = await store.read(key);
    if (bytes !== undefined) process.stdout.write(bytes.subarray(Math.max(0, end - offset)));
    printed.ends.set(name, offset + sizeBytes);
  }
}

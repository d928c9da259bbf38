/**
 * What a host knows of a generation that broke, brought to the store before anything here is wiped or turns over: the end of the trainer's
 * log, its stacks, the kernel's log, CANN's own logs, its exit and its environment. Bounded in bytes, files and time, since the next generation waits.
 */
import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { incidentNodeFolder } from '../../contract/store-keys.js';
import { withoutSecrets } from '../../process/marker.js';
import { STACKS_MARK } from '../../process/stacks.js';
import { pause } from '../../process/wait.js';
import { runParallel } from '../../storage/parallel.js';
import { FINDINGS_FILE, storeFindings, type BrokenNode } from './host-findings.js';
import { kernelEvidence, kernelPart } from './kernel-evidence.js';
import { endOf, plogs, type Part } from './plogs.js';

/** Of the trainer's log: some thousand lines, with the traceback of every rank of a host. */
const LOG_BYTES = 512 * 1024;
/** A store that is away takes no bundle, and the gang goes on. */
const LIMIT_MS = 10_000;
const AT_ONCE = 8;

export interface Broken extends BrokenNode {
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

async function storeParts(broken: Broken, signal: AbortSignal): Promise<number> {
  const { store, host, node, dir } = broken;
  const parts = [
    ...(await endOf(dir, 'trainer.log', LOG_BYTES)),
    ...(await stacks(dir)),
    ...(await endOf(dir, 'exit.json', LOG_BYTES)),
    ...(await endOf(dir, 'supervisor.log', LOG_BYTES)),
    ...(await environment(dir)),
  ];
  const { taken, leftOut } = await plogs(dir);
  if (parts.length + taken.length === 0) return 0;
  const all = [...parts, kernelPart(await kernelEvidence(dir)), ...taken];
  void storeFindings(broken);
  const folder = incidentNodeFolder(node.runId, node.generation, node.nodeRank);
  await runParallel(all, AT_ONCE, signal, ({ path, body }) => store.create(`${folder}${path}`, body, { signal }));
  const files = all.map(({ path, body, ofBytes }) => ({ path, bytes: body.length, ofBytes }));
  const index = {
    host,
    machine: hostname(),
    generation: node.generation,
    nodeRank: node.nodeRank,
    files,
    leftOut,
    follows: [FINDINGS_FILE],
  };
  // Last, so that it tells of files that are there.
  await store.create(`${folder}index.json`, `${JSON.stringify(index, null, 2)}\n`, { signal });
  return all.length + 1;
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

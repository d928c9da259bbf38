/** The trainers of a run as the hosts' own files tell of them. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { processTable } from '../../src/process/proc.js';
import { commandLine } from './folder-processes.mjs';
import type { Place } from './place.js';

export interface Trainer {
  readonly host: string;
  readonly nodeRank: number;
  /** Its folder on the host. */
  readonly dir: string;
  readonly supervisor: number;
  /** The launcher, torchrun. */
  readonly launcher: number;
  /** The process that trains: torchrun's child. */
  readonly rank: number;
}

/** Where the trainer of a node lies on a host: for this run, generation and node rank. */
export const trainerFolder = (
  cluster: Pick<Place, 'workRoot'>,
  host: string,
  runId: string,
  generation: number,
  nodeRank: number,
): string => join(cluster.workRoot(host), 'trainers', runId, String(generation), String(nodeRank));

/** The trainers of a generation by node, or undefined while not every one has launched its rank. */
export async function trainersOf(
  cluster: Pick<Place, 'hosts' | 'workRoot'>,
  runId: string,
  generation: number,
  nodes = 2,
): Promise<readonly Trainer[] | undefined> {
  const found: Trainer[] = [];
  for (const host of cluster.hosts)
    for (let nodeRank = 0; nodeRank < nodes; nodeRank += 1) {
      const dir = trainerFolder(cluster, host, runId, generation, nodeRank);
      const text = await readFile(join(dir, 'state.json'), 'utf8').catch(() => undefined);
      if (text === undefined) continue;
      const { pid, trainer } = JSON.parse(text) as { pid: number; trainer: number | null };
      const rank = trainer === null ? undefined : childOf(trainer);
      if (trainer === null || rank === undefined) return undefined;
      found.push({ host, nodeRank, dir, supervisor: pid, launcher: trainer, rank });
    }
  return found.length === nodes ? found.sort((a, b) => a.nodeRank - b.nodeRank) : undefined;
}

/** The process that torchrun started; it may have others that only pass messages on. */
function childOf(launcher: number): number | undefined {
  for (const { pid, ppid } of processTable().values())
    if (ppid === launcher && commandLine(pid).some((part) => part.endsWith('.py'))) return pid;
  return undefined;
}

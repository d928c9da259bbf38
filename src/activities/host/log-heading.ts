/** The first line of a trainer's log: where it was launched, and on what. So the store keeps, for each generation of a run, what it ran on. */
import { writeFile } from 'node:fs/promises';
import type { Plan } from '../../plan/plan.js';
import type { HostCheck } from '../../plan/preflight.js';
import { isCode } from '../../process/trainer-files.js';

export interface Launch {
  readonly host: string;
  readonly generation: number;
  readonly nodeRank: number;
  readonly runtime: Plan['runtime'];
  readonly versions: HostCheck['versions'];
}

/** Before the launch; a log that is there has its heading, or is a trainer's already. */
export async function writeHeading(log: string, launch: Launch): Promise<void> {
  try {
    await writeFile(log, `${heading(launch)}\n`, { flag: 'wx' });
  } catch (error) {
    if (!isCode(error, 'EEXIST')) throw error;
  }
}

function heading({ host, generation, nodeRank, runtime, versions }: Launch): string {
  const on = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  const what = [`runtime ${runtime}`, ...on].join(', ');
  return `[anneal] generation ${String(generation)}, node ${String(nodeRank)} on ${host}: ${what}`;
}

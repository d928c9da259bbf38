/**
 * How many processes the kernel has killed for want of memory, as the control group counts its own: it tells that also where the kernel's log may
 * not be read. A trainer lives in the group of its agent.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';

export const oomCount = z.object({ file: z.string(), killed: z.number().int() });
export type OomCount = Readonly<z.infer<typeof oomCount>>;

const ROOT = '/sys/fs/cgroup';

/** Of the group of a process; undefined where the kernel does not count. */
export async function countOomKills(pid: number): Promise<OomCount | undefined> {
  const text = await readFile(`/proc/${String(pid)}/cgroup`, 'utf8').catch(() => '');
  for (const file of filesOf(text)) {
    const killed = await killedBy(file);
    if (killed !== undefined) return { file, killed };
  }
  return undefined;
}

/** Since the count was taken; 0 where that cannot be told. */
export async function oomKillsSince({ file, killed }: OomCount): Promise<number> {
  return Math.max(0, ((await killedBy(file)) ?? killed) - killed);
}

/** Of both versions of control groups. In a container that has no namespace for them its own group is what is mounted. */
function filesOf(text: string): readonly string[] {
  const [, first] = /^\d+:(?:[^:\n]*,)?memory(?:,[^:\n]*)?:(.+)$/m.exec(text) ?? [];
  const [, second] = /^0::(.+)$/m.exec(text) ?? [];
  return [
    ...(first === undefined ? [] : [first, '/'].map((path) => join(ROOT, 'memory', path, 'memory.oom_control'))),
    ...(second === undefined ? [] : [second, '/'].map((path) => join(ROOT, path, 'memory.events'))),
  ];
}

async function killedBy(file: string): Promise<number | undefined> {
  const text = await readFile(file, 'utf8').catch(() => '');
  const count = /^oom_kill (\d+)$/m.exec(text)?.[1];
  return count === undefined ? undefined : Number(count);
}

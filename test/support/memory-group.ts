/** A control group in which memory is scarce, so that the kernel itself kills: only a user who may make groups has one (root, as a rule). */
import { mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { until } from './until.js';

const BYTES = 64 * 1024 * 1024;

/** Undefined where none can be made. */
export async function memoryGroup(): Promise<string | undefined> {
  const own = /^\d+:memory:(.+)$/m.exec(await readFile('/proc/self/cgroup', 'utf8'))?.[1];
  const name = `anneal-test-${String(process.pid)}-${String(Date.now())}`;
  const [group, limits] =
    own === undefined
      ? [join('/sys/fs/cgroup', name), ['memory.max', 'memory.swap.max']]
      : [join('/sys/fs/cgroup/memory', own, name), ['memory.limit_in_bytes']];
  try {
    await mkdir(group);
  } catch {
    return undefined;
  }
  onTestFinished(async () => {
    await until('the group is empty', 10_000, () =>
      rmdir(group).then(
        () => true,
        () => undefined,
      ),
    );
  });
  try {
    for (const limit of limits) await writeFile(join(group, limit), limit.includes('swap') ? '0' : String(BYTES));
    return group;
  } catch {
    return undefined;
  }
}

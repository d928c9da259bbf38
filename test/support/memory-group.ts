/** A control group in which memory is scarce, so that the kernel itself kills: only a user who may make groups has one (root, as a rule). */
import { mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { until } from './until.js';

const MIB = 1024 * 1024;
/** Where the two versions of control groups are mounted. */
const FIRST = '/sys/fs/cgroup/memory';
const SECOND = '/sys/fs/cgroup';

/** Undefined where none can be made. */
export async function memoryGroup(bytes = 64 * MIB): Promise<string | undefined> {
  const own = await ownGroup();
  const name = `anneal-test-${String(process.pid)}-${String(Date.now())}`;
  const [group, limits] =
    own === undefined
      ? [join(SECOND, name), ['memory.max', 'memory.swap.max']]
      : [join(FIRST, own, name), ['memory.limit_in_bytes']];
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
    for (const limit of limits) await writeFile(join(group, limit), limit.includes('swap') ? '0' : String(bytes));
    return group;
  } catch {
    return undefined;
  }
}

/** Does `work` with this process in the group: what it has so far is not charged to it, what it starts is. Back where it was afterwards. */
export async function withMemoryGroup<Result>(group: string, work: () => Promise<Result>): Promise<Result> {
  const own = await ownGroup();
  const home = own === undefined ? join(SECOND, (await secondGroup()) ?? '/') : join(FIRST, own);
  const enter = (folder: string): Promise<void> => writeFile(join(folder, 'cgroup.procs'), String(process.pid));
  await enter(group);
  try {
    return await work();
  } finally {
    await enter(home);
  }
}

const groupBy = async (line: RegExp): Promise<string | undefined> =>
  line.exec(await readFile('/proc/self/cgroup', 'utf8'))?.[1];
/** Of the first version; undefined where memory is counted by the second. */
const ownGroup = (): Promise<string | undefined> => groupBy(/^\d+:memory:(.+)$/m);
const secondGroup = (): Promise<string | undefined> => groupBy(/^0::(.+)$/m);

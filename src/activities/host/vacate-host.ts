/** Takes the host back from whoever had it: the fence first, then every process of every lease that is over, then the proof. */
import type { IoActivities } from '../../contract/activities.js';
import { isLockFree, readLockHolder } from '../../process/host-lock.js';
import { killLeftovers, type StopReport } from '../../process/kill.js';
import { stopTrainer, type StopTrainer } from '../../process/supervisor.js';
import { listTrainers, readExit, trainerDir } from '../../process/trainer-files.js';
import { poll } from '../../process/wait.js';
import { failure, orFail } from '../fail.js';
import { reporting } from '../progress.js';
import type { HostDeps } from './deps.js';
import type { HostFence, LastLease } from './fence.js';
import { hostLockFile, trainersFolder } from './work-folders.js';

/** Who only asks about the lock holds it for milliseconds; what is just ending, for a little longer. */
const LOCK_LIMIT_MS = 3_000;

export function createVacateHost(deps: HostDeps, hostFence: HostFence): IoActivities['vacateHost'] {
  return ({ fence }) =>
    orFail(() =>
      reporting(deps.facts.name, () =>
        hostFence.vacate(fence, async (last) => {
          const stopped: number[] = [];
          const ended = (report: StopReport): void => {
            if (!report.gone) throw failure('HostDirty', `Host ${deps.facts.name}: ${report.message}`);
            stopped.push(...report.killed.map(({ pid }) => pid));
          };
          for (const place of await unended(deps.workRoot)) ended(await stopTrainer(place));
          // A judging whose agent died goes on by itself; one of this agent has been aborted with its lease.
          if (last !== null) ended(await killLeftovers(judgingOf(deps, last)));
          await proveLockFree(deps);
          return { stopped };
        }),
      ),
    );
}

/** Trainers that were launched and have left no report of a clean end: alive, lost, or with processes that survived. */
async function unended(workRoot: string): Promise<readonly StopTrainer[]> {
  const trainers = trainersFolder(workRoot);
  const places: StopTrainer[] = [];
  for (const trainer of await listTrainers(trainers)) {
    const dir = trainerDir(trainers, trainer);
    const marker = { workRoot, ...trainer };
    const exit = await readExit(dir);
    if (exit === undefined || exit.left.length > 0)
      places.push({ dir, marker, lockFile: hostLockFile(workRoot), graceMs: 0 });
  }
  return places;
}

function judgingOf({ workRoot }: HostDeps, { runId }: LastLease) {
  return { workRoot, runId, stage: 'evaluate' };
}

/** Every process of a trainer has the lock, so one that no folder tells of still holds it. */
async function proveLockFree({ workRoot, facts }: HostDeps): Promise<void> {
  const lockFile = hostLockFile(workRoot);
  const isFree = await poll(async () => (await isLockFree(lockFile)) || undefined, { timeoutMs: LOCK_LIMIT_MS });
  if (isFree === true) return;
  const holder = await readLockHolder(lockFile);
  const who =
    holder === undefined
      ? 'an unknown process'
      : `the trainer in ${holder.directory} (supervisor ${String(holder.pid)})`;
  throw failure(
    'HostDirty',
    `Host ${facts.name}: ${who} still holds ${lockFile}, though all trainers were ended. End it, or restart the machine.`,
  );
}

/** A sign of life: what this host sees of a trainer now, and where its ranks stand when it hangs. */
import { join } from 'node:path';
import type { IoActivities, RankLook } from '../../contract/activities.js';
import { trainLogName } from '../../contract/store-keys.js';
import { dumpStacks, rankProcesses } from '../../process/stacks.js';
import { trainerNow } from '../../process/supervisor.js';
import { trainerDir } from '../../process/trainer-files.js';
import { monotonicSeconds, pause } from '../../process/wait.js';
import { orFail } from '../fail.js';
import { reporting } from '../progress.js';
import type { HostDeps } from './deps.js';
import { shipLog } from './log-shipper.js';
import { trainersFolder } from './work-folders.js';

/** Stacks are worth this much of a recovery, whatever number of ranks the host has. */
const STACKS_SECONDS = 20;
const SHIP_MS = 10_000;

export function createProbeTrainer(deps: HostDeps): IoActivities['probeTrainer'] {
  const { facts, workRoot, store, runtimeBin, environment } = deps;
  return ({ runId, generation, nodeRank, stacks }) =>
    orFail(() =>
      reporting(facts.name, async () => {
        const marker = { workRoot, runId, generation, nodeRank };
        const dir = trainerDir(trainersFolder(workRoot), marker);
        const trainer = await trainerNow(dir);
        if (!stacks) return { trainer, ranks: [] };
        const logFile = join(dir, 'trainer.log');
        const pySpy = [join(runtimeBin, 'py-spy'), 'py-spy'];
        const deadline = monotonicSeconds() + STACKS_SECONDS;
        const ranks: RankLook[] = [];
        // One after the other: each writes into the same log.
        for (const one of await rankProcesses(marker)) {
          const isLate = monotonicSeconds() > deadline;
          const how = isLate
            ? 'none: there was no time left'
            : await dumpStacks(one, { logFile, pySpy, env: environment });
          ranks.push({ ...one, stacks: how });
        }
        // The attempt that ships this log may have ended, as that of the node that found the hang has. A store that is away takes no log.
        const log = shipLog({ store, runId, log: trainLogName(generation, nodeRank), path: logFile });
        await Promise.race([log.stop(), pause(SHIP_MS)]);
        return { trainer, ranks };
      }),
    );
}

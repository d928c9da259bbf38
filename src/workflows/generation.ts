/** One generation: stage in on all hosts, launch all ranks, commit their saves as they become complete, end together. */
import { ApplicationFailure, CancellationScope, isCancellation, sleep } from '@temporalio/workflow';
import type { TrainRankResult } from '../contract/activities.js';
import type { GangState, TrainGangInput } from '../contract/messages.js';
import type { Lease } from '../plan/hosts.js';
import type { Commit, RunFact } from '../plan/run-log.js';
import type { NodeFailure } from '../plan/verdict.js';
import { onIo, onNpu, watching } from './activities.js';
import { failureFacts } from './failure.js';
import { HOST_DUTY, HOST_STAGE, observeTrainer } from './options.js';

/** Why a generation ended before the last iteration: how each node that failed did so. */
export class GangBroken extends Error {
  readonly failures: readonly NodeFailure[];
  readonly reachedIteration: number;

  constructor(failures: readonly NodeFailure[], fromIteration: number) {
    super(failures.map(({ host, message }) => `${host}: ${message}`).join(' '));
    this.failures = failures;
    this.reachedIteration = Math.max(fromIteration, ...failures.map(({ iteration = 0 }) => iteration));
  }
}

/** Silence, and an agent that goes or comes: the trainer may well live, so the same work is scheduled again. */
const ATTACH_AGAIN = ['Silent', 'Detached', 'WorkerShutdown', 'AgentRestarted', 'ActivityReset', 'ActivityPause'];
/** An agent that keeps coming and going without the trainer's end is a host at fault. */
const ATTACHES = 20;
/** A trainer that was given up holds its host until its lease ends: 10 minutes by default, and a little more. */
const BUSY_WAIT = '15 seconds';
const BUSY_TURNS = 45;

/** Long for one look at the store, short for a person who waits. */
const LAST_COMMIT = '5 minutes';

export interface Generation {
  readonly input: TrainGangInput;
  readonly generation: number;
  /** By node rank. */
  readonly leases: readonly Lease[];
  readonly from: Commit | undefined;
  readonly append: (fact: RunFact) => Promise<void>;
  readonly show: (change: Partial<GangState>) => void;
}

export async function runGeneration(gang: Generation): Promise<void> {
  gang.show({ phase: 'staging in' });
  const port = await prepareHosts(gang);
  gang.show({ phase: 'training' });
  let committed = gang.from?.iteration ?? 0;
  const commitNext = async (once: boolean): Promise<boolean> => {
    const { runId, cluster } = gang.input;
    const summary = `saves of generation ${String(gang.generation)} after iteration ${String(committed)}`;
    const save = await watching(cluster, summary).watchSaves({
      runId,
      generation: gang.generation,
      afterIteration: committed,
      once,
    });
    if (save === null) return false;
    const { iteration, checkpoint } = save;
    await gang.append({ fact: 'commit', generation: gang.generation, iteration, checkpoint });
    committed = iteration;
    return true;
  };

  /** Bounded by what a generation can have saved; each turn commits one save or ends. A save that is not whole is none. */
  const commitTheRest = async (): Promise<void> => {
    try {
      while (await commitNext(true));
    } catch (error) {
      if (failureFacts(error).type !== 'CheckpointPartial') throw error;
    }
  };

  const scope = new CancellationScope();
  const commits = scope.run(async () => {
    while (committed < gang.input.opening.iterations) await commitNext(false);
  });
  try {
    await runRanks(gang, port, commits);
    // The ranks have shipped everything, so the last commit is a look at the store away.
    await Promise.race([commits, scope.run(() => sleep(LAST_COMMIT))]);
  } finally {
    scope.cancel();
    await commits.catch(() => undefined);
    await CancellationScope.nonCancellable(commitTheRest);
  }
  if (committed < gang.input.opening.iterations)
    throw new GangBroken(
      [
        {
          host: hostOf(gang, 0),
          nodeRank: 0,
          type: 'CheckpointPartial',
          message: 'All ranks ended well, but the last iteration is not whole in the store.',
        },
      ],
      committed,
    );
}

/** Every host has its verified copies and its load folder, or none starts. Returns the rendezvous port on node 0's host. */
async function prepareHosts(gang: Generation): Promise<number> {
  const { runId, cluster, inputs } = gang.input;
  const { generation, from } = gang;
  const resumeFrom = from === undefined ? null : { iteration: from.iteration, checkpoint: from.checkpoint };
  const staged = gang.leases.map(({ host, fence }, nodeRank) =>
    onIo(cluster, host.name, `stage in g${String(generation)}`, HOST_STAGE).stageIn({
      ...{ runId, generation, nodeRank, fence, inputs, resumeFrom },
    }),
  );
  await throwBroken(gang, staged);
  const first = hostOf(gang, 0);
  try {
    const io = onIo(cluster, first, `rendezvous g${String(generation)}`, HOST_DUTY);
    return (await io.openRendezvous({ runId, generation, nodeRank: 0 })).port;
  } catch (error) {
    if (isCancellation(error)) throw error;
    throw new GangBroken([{ host: first, nodeRank: 0, ...failureFacts(error) }], from?.iteration ?? 0);
  }
}

/**
 * Ends when all ranks have. The first failure, of a rank or of the commits, stops the others, and no rank is left when it
 * throws. A cancelled run is different: each trainer gets its grace to save, and only then whatever is left is ended.
 */
async function runRanks(gang: Generation, port: number, commits: Promise<void>): Promise<void> {
  const scope = new CancellationScope();
  const ranks = gang.leases.map((_, nodeRank) => scope.run(() => observeRank(gang, nodeRank, port)));
  let commitFailure: readonly NodeFailure[] = [];
  const commitsFailed = commits.then(
    () => new Promise<never>(() => undefined),
    (error: unknown) => {
      // The commits have no host; node 0 names the saves, so its host stands for them.
      if (!isCancellation(error)) commitFailure = [{ host: hostOf(gang, 0), nodeRank: 0, ...failureFacts(error) }];
      throw error;
    },
  );
  try {
    await Promise.race([Promise.all(ranks), commitsFailed]);
  } catch {
    gang.show({ phase: 'stopping' });
    if (CancellationScope.current().consideredCancelled) await Promise.allSettled(ranks);
    await stopAll(gang);
    scope.cancel();
    // When the commits failed, the ends of the ranks are echoes of the stop: the root comes first.
    await throwBroken(gang, ranks, commitFailure);
  }
}

/** One node's trainer from its launch to its end, through any number of restarts of its agent. */
async function observeRank(gang: Generation, nodeRank: number, port: number): Promise<TrainRankResult> {
  const { runId, cluster, inputs, opening } = gang.input;
  const { generation, from } = gang;
  const lease = gang.leases[nodeRank];
  const master = gang.leases[0];
  if (lease === undefined || master === undefined)
    throw ApplicationFailure.nonRetryable('A gang without hosts was started.');
  const what = `train g${String(generation)} node ${String(nodeRank)}`;
  for (let attach = 0, busy = 0; ;) {
    try {
      return await onNpu(cluster, lease.host.name, what, observeTrainer(opening.timing)).trainRank({
        ...{ runId, generation, nodeRank, fence: lease.fence, inputs },
        masterAddress: master.host.address,
        masterPort: port,
        resumeIteration: from?.iteration ?? 0,
      });
    } catch (error) {
      if (isCancellation(error)) throw error;
      const { type } = failureFacts(error);
      if (type === 'HostBusy' && busy < BUSY_TURNS) {
        busy += 1;
        await sleep(BUSY_WAIT);
      } else if (ATTACH_AGAIN.includes(type) && attach < ATTACHES) attach += 1;
      else throw error;
    }
  }
}

/** On every host, whether its trainer lives or not: afterwards no process of this generation is left that can be reached. */
async function stopAll(gang: Generation): Promise<void> {
  const { runId, cluster } = gang.input;
  const { generation } = gang;
  await CancellationScope.nonCancellable(() =>
    Promise.allSettled(
      gang.leases.map(({ host }, nodeRank) =>
        onIo(cluster, host.name, `stop g${String(generation)}`, HOST_DUTY).stopTrainer({ runId, generation, nodeRank }),
      ),
    ),
  );
}

/** Waits for all, then throws what failed, by node; a cancellation from outside goes through as it is. */
async function throwBroken(
  gang: Generation,
  work: readonly Promise<unknown>[],
  first: readonly NodeFailure[] = [],
): Promise<void> {
  const ends = await Promise.allSettled(work);
  if (CancellationScope.current().consideredCancelled) {
    const cancelled = ends.find((end) => end.status === 'rejected' && isCancellation(end.reason));
    if (cancelled?.status === 'rejected') throw cancelled.reason;
  }
  const failures = ends.flatMap((end, nodeRank): NodeFailure[] => {
    if (end.status === 'fulfilled') return [];
    const host = hostOf(gang, nodeRank);
    if (isCancellation(end.reason))
      return [{ host, nodeRank, type: 'Stopped', message: 'It was stopped with the gang.' }];
    const { type, ...facts } = failureFacts(end.reason);
    return [{ host, nodeRank, type: type === 'NotPickedUp' ? 'HostLost' : type, ...facts }];
  });
  if (first.length + failures.length > 0) throw new GangBroken([...first, ...failures], gang.from?.iteration ?? 0);
}

function hostOf(gang: Generation, nodeRank: number): string {
  return gang.leases[nodeRank]?.host.name ?? 'unknown host';
}

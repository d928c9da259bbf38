/** One generation: stage in on all hosts, launch all ranks, commit their saves as they become complete, end together. */
import { CancellationScope, isCancellation } from '@temporalio/workflow';
import type { CompleteSave } from '../contract/activities.js';
import { onIo, watching } from './activities.js';
import { failureFacts } from './failure.js';
import { GangBroken, hostOf, throwBroken, type Generation } from './gang.js';
import { withHandover, withRestored, withWords } from '../contract/gang-story.js';
import { HOST_DUTY, HOST_STAGE } from './options.js';
import { refuseUnfit } from './preflight.js';
import { runRanks } from './ranks.js';

/** A trainer that was left behind ends with its lease: no run has that many generations in that time. */
const PORTS_EXCLUDED = 100;

export async function runGeneration(gang: Generation): Promise<void> {
  gang.view.show({ phase: 'staging in' });
  const port = await prepareHosts(gang);
  gang.view.show({ phase: 'training' });
  await gang.view.tell();
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
    hear(gang, save);
    // Once a save is found its commit goes through, whatever ends meanwhile.
    await CancellationScope.nonCancellable(() => gang.commit(save));
    committed = save.iteration;
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
  } finally {
    // Ranks that ended well have shipped everything, so one more look finds it. No timer waits for the commits here: a timer
    // that a local activity's end cancels in the same task is replayed in another order than it was recorded.
    scope.cancel();
    await commits.catch(() => undefined);
    await CancellationScope.nonCancellable(commitTheRest);
  }
  gang.reached.hear(committed);
  if (committed < gang.input.opening.iterations)
    throw new GangBroken([
      {
        host: hostOf(gang, 0),
        nodeRank: 0,
        type: 'CheckpointPartial',
        message: 'All ranks ended well, but the last iteration is not whole in the store.',
      },
    ]);
}

/** What has come with a save is shown with its commit. */
function hear({ view, generation }: Generation, { words, workerReplaced }: CompleteSave): void {
  if (words !== undefined) view.show(withWords(view.state, words, Date.now()));
  if (workerReplaced) {
    const what = 'it was gone while it watched for saves';
    view.show(withHandover(view.state, { at: Date.now(), generation, who: 'control worker', what, isHeard: true }));
  }
}

/**
 * Every host is fit, and has its verified copies and its load folder, or none starts. Both at once: a look costs no recovery a second. Returns
 * the rendezvous port on node 0's host.
 */
async function prepareHosts(gang: Generation): Promise<number> {
  const { runId, cluster, inputs } = gang.input;
  const { generation, from, checkFinite } = gang;
  const resumeFrom = from === undefined ? null : { iteration: from.iteration, checkpoint: from.checkpoint };
  const staging = new CancellationScope();
  const staged = gang.leases.map(({ host, fence }, nodeRank) =>
    staging.run(() =>
      onIo(cluster, host.name, `stage in g${String(generation)}`, HOST_STAGE).stageIn({
        ...{ runId, generation, nodeRank, fence, owner: gang.owner, inputs, resumeFrom, checkFinite },
      }),
    ),
  );
  const allStaged = Promise.allSettled(staged);
  try {
    await refuseUnfit(gang);
  } catch (error) {
    // What has begun there is ended with the lease, and lies in folders that no other generation reads.
    staging.cancel();
    await allStaged;
    throw error;
  }
  await throwBroken(gang, staged);
  const restored = (await Promise.all(staged)).flatMap((node) => node ?? []);
  gang.view.show(withRestored(gang.view.state, restored));
  const first = hostOf(gang, 0);
  try {
    const io = onIo(cluster, first, `rendezvous g${String(generation)}`, HOST_DUTY);
    const exclude = [...gang.ports].slice(-PORTS_EXCLUDED);
    const { port } = await io.openRendezvous({ runId, generation, nodeRank: 0, exclude });
    gang.ports.add(port);
    return port;
  } catch (error) {
    if (isCancellation(error)) throw error;
    throw new GangBroken([{ host: first, nodeRank: 0, ...failureFacts(error) }]);
  }
}

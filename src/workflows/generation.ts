/** One generation: stage in on all hosts, launch all ranks, commit their saves as they become complete, end together. */
import { CancellationScope } from '@temporalio/workflow';
import type { CompleteSave } from '../contract/activities.js';
import { watching } from './activities.js';
import { failureFacts } from './failure.js';
import { GangBroken, hostOf, type Generation } from './gang.js';
import { withHandover, withWords } from '../contract/gang-story.js';
import { runRanks } from './ranks.js';
import { prepareHosts } from './staging.js';

export async function runGeneration(gang: Generation): Promise<void> {
  gang.view.show({ phase: 'staging in' });
  const port = await prepareHosts(gang);
  gang.view.show({ phase: 'training' });
  gang.view.tell();
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
    // Ranks that ended well have shipped everything, so one more look finds it.
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

/** Deleting beside the training: the files of dropped commits go while it runs, and nothing that goes wrong there ends it. */
import { CancellationScope } from '@temporalio/workflow';
import type { TrainGangInput } from '../contract/messages.js';
import { deleting, watching } from './activities.js';

/** One activity follows the run's log for as long as `work` takes, so that a drop costs no event; a last look takes what is left. */
export async function whileDeleting<Result>(
  { runId, cluster }: TrainGangInput,
  work: () => Promise<Result>,
): Promise<Result> {
  const summary = 'delete the files of dropped commits';
  const scope = new CancellationScope();
  const following = scope
    .run(() => watching(cluster, summary).deleteDropped({ runId, once: false }))
    .catch(() => undefined);
  try {
    return await work();
  } finally {
    scope.cancel();
    await following;
    await CancellationScope.nonCancellable(() =>
      deleting(cluster, summary)
        .deleteDropped({ runId, once: true })
        .catch(() => undefined),
    );
  }
}

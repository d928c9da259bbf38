/** However a training ends, its loss record is kept and its run knows all; no trouble with the record changes how the training ended. */
import { CancellationScope } from '@temporalio/workflow';
import type { TrainGangInput } from '../contract/messages.js';
import { recording } from './activities.js';
import { failureFacts } from './failure.js';
import type { GangView } from './gang-view.js';

export async function keepingRecord<Result>(
  { runId, cluster }: TrainGangInput,
  view: GangView,
  training: () => Promise<Result>,
): Promise<Result> {
  let isReplaced = false;
  try {
    return await training();
  } catch (error) {
    isReplaced = failureFacts(error).type === 'FactConflict';
    throw error;
  } finally {
    // Who was replaced by another writer of the log writes no end: the training goes on there.
    if (!isReplaced) {
      await CancellationScope.nonCancellable(() =>
        recording(cluster, 'the loss record')
          .recordMetrics({ runId })
          .catch(() => undefined),
      );
      await view.told();
    }
  }
}

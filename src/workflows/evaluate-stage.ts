/** The stage evaluate of a run. Judging uses an NPU, so it holds a lease like training does; generation 0 is never a gang's. */
import { ApplicationFailure } from '@temporalio/workflow';
import type { StageResult } from '../contract/activities.js';
import { onNpu } from './activities.js';
import { failureFacts } from './failure.js';
import { HostDrained } from './gang.js';
import { withHosts } from './lease.js';
import { EVALUATE } from './options.js';
import { HOST_FAILURES } from './some-host.js';
import type { Artifacts, RunParts } from './train-stage.js';

/** Judging that failed so often on leased hosts is at fault itself. */
const EVALUATIONS = 3;

export async function evaluateStage(run: RunParts, inputs: Artifacts): Promise<StageResult> {
  for (let tries = 1; ;) {
    try {
      return await evaluateOnce(run, inputs);
    } catch (error) {
      // A host that is drained says nothing of the judging, and is not granted again.
      if (error instanceof HostDrained) continue;
      // A host that is silent by then is not granted again; one that lives gets a second chance. A lease that a new pool did
      // not know of is asked for anew.
      const isOfHost = [...HOST_FAILURES, 'StaleGeneration'].includes(failureFacts(error).type);
      if (tries === EVALUATIONS || !isOfHost) throw error;
      tries += 1;
    }
  }
}

function evaluateOnce({ input, opening, view }: RunParts, inputs: Artifacts): Promise<StageResult> {
  const { runId, cluster } = input;
  const { runtime, priority } = opening;
  const wish = { hosts: 1, npusPerHost: 1, runtime, hasBegun: true, ...(priority && { priority }) };
  return withHosts(
    { cluster, generation: 0, ...wish, onWaiting: (note) => view.show('evaluate', { note }) },
    async ({ owner, leases }) => {
      const lease = leases[0];
      if (lease === undefined) throw ApplicationFailure.nonRetryable('The pool granted no host.', 'NoHost');
      view.on('evaluate', lease.host.name);
      view.show('evaluate', { note: '' });
      const npu = onNpu(cluster, lease.host.name, 'evaluate', EVALUATE);
      return npu.evaluateModel({ runId, inputs, fence: lease.fence, owner });
    },
  );
}

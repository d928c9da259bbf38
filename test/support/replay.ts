/** Whether a worker that starts anew could go on from what a server has recorded: each history is replayed with today's workflows. */
import { Worker } from '@temporalio/worker';
import type { Client } from '@temporalio/client';
import { quietRuntime } from './quiet-runtime.js';
import { withTemporal } from './run-history.js';
import { workflowBundle } from './workflow-bundle.js';

/** A sentence for each history that does not replay; of all workflows, or of those with these ids. */
export async function unreplayable(address: string, ids?: readonly string[]): Promise<readonly string[]> {
  quietRuntime();
  const code = await workflowBundle();
  return withTemporal(address, async (client) => {
    const histories = ids === undefined ? client.workflow.list().intoHistories() : historiesOf(client, ids);
    const problems: string[] = [];
    for await (const { workflowId, error } of Worker.runReplayHistories({ workflowBundle: { code } }, histories))
      if (error !== undefined) problems.push(`The history of ${workflowId} does not replay: ${error.message}`);
    return problems;
  });
}

async function* historiesOf(client: Client, ids: readonly string[]) {
  for (const workflowId of ids)
    yield { workflowId, history: await client.workflow.getHandle(workflowId).fetchHistory() };
}

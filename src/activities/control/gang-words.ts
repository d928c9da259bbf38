/** What the trainers' heartbeats say at this moment, read from the server: the workflow hears it with the next save, at no event. */
import type { Client, WorkflowExecutionDescription } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import type { ControlActivities, NpuActivities, TrainProgress } from '../../contract/activities.js';
import type { GangWords } from '../../contract/gang.js';
import { joinWords } from '../../contract/gang-story.js';
import { trainWorkflowId } from '../../contract/names.js';
import type { ControlDeps } from './deps.js';

const TRAIN_RANK = 'trainRank' satisfies keyof NpuActivities;
/** A page's numbers are not worth a commit that waits. */
const LIMIT_MS = 2_000;

/** Undefined when no trainer of the generation was heard, or the server does not answer in time. */
export async function gangWords(
  client: Client,
  workflowId: string,
  generation: number,
): Promise<GangWords | undefined> {
  return joinWords(await heard(client, workflowId), generation);
}

/** Of trainers whose hosts do not answer any more. */
export function createLastWords({ client }: ControlDeps): Pick<ControlActivities, 'lastWords'> {
  return {
    lastWords: async ({ runId, generation, hosts }) =>
      (await heard(client, trainWorkflowId(runId)))
        .filter((said) => said.generation === generation && hosts.includes(said.host))
        .map(({ host, at, iteration }) => ({ host, at, iteration })),
  };
}

async function heard(client: Client, workflowId: string): Promise<readonly TrainProgress[]> {
  try {
    return progressOf(
      await client.connection.withDeadline(Date.now() + LIMIT_MS, () =>
        client.workflow.getHandle(workflowId).describe(),
      ),
    );
  } catch {
    return [];
  }
}

function progressOf({ raw }: WorkflowExecutionDescription): readonly TrainProgress[] {
  return (raw.pendingActivities ?? []).flatMap(({ activityType, heartbeatDetails }) => {
    const payload = heartbeatDetails?.payloads?.[0];
    if (activityType?.name !== TRAIN_RANK || !payload) return [];
    const said = defaultPayloadConverter.fromPayload<TrainProgress | null | undefined>(payload);
    return said ? [said] : [];
  });
}

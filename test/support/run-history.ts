/** What Temporal recorded of a run: the truth about which activities were asked of whom, with their inputs. */
import { Client, Connection } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';

export interface AskedActivity {
  readonly type: string;
  readonly queue: string;
  readonly input: unknown;
  /** How often the server gave it out, its own retries included; 0 for one that nobody took up. */
  readonly attempts: number;
}

/** Opens a plain Temporal client for the length of `use`. */
export async function withTemporal<T>(address: string, use: (client: Client) => Promise<T>): Promise<T> {
  const connection = await Connection.connect({ address });
  try {
    return await use(new Client({ connection }));
  } finally {
    await connection.close();
  }
}

/** The activities that a workflow scheduled, oldest first. */
export async function activitiesOf(address: string, workflowId: string): Promise<readonly AskedActivity[]> {
  return withTemporal(address, async (client) => {
    const { events } = await client.workflow.getHandle(workflowId).fetchHistory();
    const attempts = new Map(
      (events ?? []).flatMap(({ activityTaskStartedEventAttributes: taken }) =>
        taken ? [[String(taken.scheduledEventId), taken.attempt ?? 0] as const] : [],
      ),
    );
    return (events ?? []).flatMap(({ eventId, activityTaskScheduledEventAttributes: asked }) => {
      if (asked === null || asked === undefined) return [];
      const payload = asked.input?.payloads?.[0];
      return [
        {
          type: asked.activityType?.name ?? '',
          queue: asked.taskQueue?.name ?? '',
          input: payload === undefined ? undefined : defaultPayloadConverter.fromPayload(payload),
          attempts: attempts.get(String(eventId)) ?? 0,
        },
      ];
    });
  });
}

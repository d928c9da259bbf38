/**
 * What a worker asks of the server, command by command, as its event groups name it. A server before 1.32 takes the groups and does
 * not keep them, so a history of the pinned one cannot tell.
 */
import { defaultPayloadConverter } from '@temporalio/common';
import { coresdk, type temporal } from '@temporalio/proto';
import type { Worker } from '@temporalio/worker';

export interface SentCommand {
  /** As the protocol names it: `scheduleActivity`, `startTimer`, ... */
  readonly kind: string;
  readonly groups: readonly string[];
}

/** The SDK has no public place for this; the versions are pinned. */
interface Native {
  nativeWorker: { completeWorkflowActivation: (completion: Buffer) => Promise<void> };
}

/** Call before the worker runs. */
export function recordCommands(worker: Worker): readonly SentCommand[] {
  const sent: SentCommand[] = [];
  const { nativeWorker } = worker as unknown as Native;
  const complete = nativeWorker.completeWorkflowActivation;
  nativeWorker.completeWorkflowActivation = (completion) => {
    const { successful } = coresdk.workflow_completion.WorkflowActivationCompletion.decodeDelimited(completion);
    for (const { variant, eventGroupMarkers } of successful?.commands ?? [])
      sent.push({ kind: variant ?? '', groups: labelsOf(eventGroupMarkers) });
    return complete(completion);
  };
  return sent;
}

/** Labels of the groups that code of ours has made; those of signals have none. */
export function labelsOf(
  markers: readonly temporal.api.sdk.v1.IEventGroupMarker[] | null | undefined,
): readonly string[] {
  return (markers ?? []).flatMap(({ label }) =>
    label?.label ? [defaultPayloadConverter.fromPayload<string>(label.label)] : [],
  );
}

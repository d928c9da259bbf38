/** Event groups: every command of a stage or a generation carries its name, by which the Temporal UI groups a history. */
import { createEventGroup } from '@temporalio/workflow';

/** `label` is of our own words: it is shown as it is, and equal labels are one group. */
export function inGroup<Result>(label: string, work: () => Promise<Result>): Promise<Result> {
  return createEventGroup(label, { id: label }).withScope(work);
}

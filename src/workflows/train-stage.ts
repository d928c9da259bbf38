/** The stage train of a run: its gang, a child workflow, which may go on from a commit of the run that this one retries. */
import { startChild } from '@temporalio/workflow';
import type { FileSetRef, RunOpening, StageResult } from '../contract/activities.js';
import type { FineTuneInput } from '../contract/messages.js';
import { trainWorkflowId } from '../contract/names.js';
import type { ArtifactName } from '../plan/plan.js';
import type { Commit } from '../plan/run-log.js';
import { control } from './activities.js';
import type { RunRequests } from './run-requests.js';
import type { RunView } from './run-view.js';
import { searchAttribute } from './search-attributes.js';
import { trainGang } from './train-gang.js';

export type Artifacts = Partial<Record<ArtifactName, FileSetRef>>;

/** What the stages of a run share. */
export interface RunParts {
  readonly input: FineTuneInput;
  readonly opening: RunOpening;
  readonly view: RunView;
  readonly requests: RunRequests;
}

export async function trainStage(run: RunParts, inputs: Artifacts, stageKey: string): Promise<StageResult> {
  const { input, opening, requests } = run;
  const { runId, cluster } = input;
  const goesOnFrom = await earlierCommit(run, stageKey);
  const gang = await startChild(trainGang, {
    workflowId: trainWorkflowId(runId),
    args: [{ runId, cluster, opening, inputs, stageKey, ...(goesOnFrom && { goesOnFrom }) }],
    staticSummary: `train ${runId}`,
    typedSearchAttributes: [
      searchAttribute('AnnealRun', runId),
      searchAttribute('AnnealName', input.spec.name),
      searchAttribute('AnnealModel', opening.publishAs),
      searchAttribute('AnnealCluster', cluster),
      searchAttribute('AnnealStage', 'train'),
    ] as never,
  });
  return requests.tellingGang(gang, () => gang.result());
}

/** Of the run that this one retries, or of one that that one retried, if its training means the same. */
async function earlierCommit({ input, view }: RunParts, stageKey: string): Promise<Commit | undefined> {
  const { runId, cluster, retries, retriesBefore = [] } = input;
  if (retries === undefined) return undefined;
  // Bounded: somebody has asked for each of them.
  for (const earlierRunId of [retries, ...retriesBefore]) {
    const { findEarlierCommit } = control(cluster, `train: can it go on from a commit of ${earlierRunId}?`);
    const { commit, note } = await findEarlierCommit({ runId, earlierRunId, stageKey });
    if (commit !== undefined || earlierRunId === retries) view.retries(retries, note);
    if (commit !== undefined) return commit;
  }
  return undefined;
}

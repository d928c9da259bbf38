/** One firing of a schedule: looks at what the data source holds, and trains when that is new. */
import {
  executeChild,
  isCancellation,
  ParentClosePolicy,
  setCurrentDetails,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { RetrainBasis, RetrainInput, RetrainResult } from '../contract/messages.js';
import { retrainRunId, runWorkflowId } from '../contract/names.js';
import { sayStopped } from '../plan/run-requests.js';
import { control } from './activities.js';
import { asRoot } from './failure.js';
import { fineTune } from './fine-tune.js';
import { searchAttribute } from './search-attributes.js';
import { onSomeHost } from './some-host.js';

export async function retrain(input: RetrainInput): Promise<RetrainResult> {
  try {
    const basis = await lookAtData(input);
    const result = 'outcome' in basis ? basis : await train(input, basis);
    end(result.outcome, result.why);
    return result;
  } catch (error) {
    end(isCancellation(error) ? 'stopped' : 'failed');
    throw isCancellation(error) ? error : asRoot(error);
  }
}

/** What the run is to be based on, or the end of a retrain that has nothing to do. */
async function lookAtData({ cluster, spec, from }: RetrainInput): Promise<RetrainBasis | RetrainResult> {
  const {
    publish,
    data: { source },
  } = spec;
  const opening = await control(cluster, 'check the spec').openRetrain({ cluster, spec, from });
  const where = { cluster, runtime: opening.runtime, what: 'what the data source holds' };
  const { fingerprint } = await onSomeHost(where, (io) =>
    io.fingerprintSource({ specKey: opening.specKey, item: 'fetch-data' }),
  );
  const data = { fingerprint, at: Date.now() };
  const { trainedBy, current } = await control(cluster, `what ${publish.model} was trained on`).lookAtModel({
    ...{ model: publish.model, spec: opening.spec, fingerprint },
  });
  if (trainedBy === null) return { spec: opening.spec, data, from, base: current };
  const why = `${source.uri} holds what run ${trainedBy} was trained on.`;
  return { outcome: 'skipped: unchanged', data, runId: trainedBy, why };
}

/** A training outlives its retrain: only a cancel, which a person or the schedule's overlap policy asks for, ends both. */
async function train({ cluster, spec }: RetrainInput, basis: RetrainBasis): Promise<RetrainResult> {
  const runId = retrainRunId(workflowInfo().workflowId);
  upsertSearchAttributes([searchAttribute('AnnealRun', runId)]);
  setCurrentDetails(`The data has changed. Run \`${runId}\` trains on it.`);
  const result = await executeChild(fineTune, {
    workflowId: runWorkflowId(runId),
    args: [{ runId, cluster, spec, retrain: basis }],
    parentClosePolicy: ParentClosePolicy.ABANDON,
    staticSummary: `${spec.name}: retrain on new data`,
    typedSearchAttributes: [
      searchAttribute('AnnealRun', runId),
      searchAttribute('AnnealName', spec.name),
      searchAttribute('AnnealModel', spec.publish.model),
      searchAttribute('AnnealCluster', cluster),
    ] as never,
  });
  if (result.outcome === 'stopped')
    return { outcome: 'stopped', data: basis.data, runId, why: `Its run was ${sayStopped(result.stopped)}.` };
  const { outcome, accuracy, baseAccuracy, promotion, why, data } = result;
  const ending = { ...(promotion === undefined ? {} : { promotion }), ...(why === undefined ? {} : { why }) };
  return { outcome, data, runId, accuracy, baseAccuracy, ...ending };
}

function end(outcome: RetrainResult['outcome'] | 'failed', why?: string): void {
  upsertSearchAttributes([searchAttribute('AnnealOutcome', outcome)]);
  // What the source is called is the user's text, so it stands as code.
  setCurrentDetails([`### ${outcome}`, ...(why === undefined ? [] : ['```', why, '```'])].join('\n'));
}

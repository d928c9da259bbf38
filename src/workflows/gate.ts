/** The gate: judges a result against its minimum and the promoted model, promotes what passes, and leaves a retrain's fact. */
import { ApplicationFailure, CancellationScope } from '@temporalio/workflow';
import type { FileSetRef, PromotedModel, RunOpening } from '../contract/activities.js';
import type { FineTuneInput, FineTuneResult } from '../contract/messages.js';
import { whyRejected, type DataState } from '../plan/promotions.js';
import { control } from './activities.js';

/** What the stages say of the result. */
export interface Evaluated {
  /** Of `rival`, or without one of the model that training began from. */
  readonly baseAccuracy: number;
  readonly accuracy: number;
  readonly weightsDigest: string;
  readonly published: FileSetRef;
  readonly data: DataState;
  /** The promoted model that it was compared with. */
  readonly rival: PromotedModel | null;
}
interface Judging {
  readonly input: FineTuneInput;
  readonly opening: RunOpening;
  readonly evaluated: () => Evaluated;
  /** Judges again, against a model that was promoted meanwhile. */
  readonly evaluateAgainst: (rival: PromotedModel) => Promise<void>;
}
export type Judged = Omit<FineTuneResult, 'stages'>;

/** Each further judgement means that another result was promoted during the one before: more in a row is no race any more. */
const JUDGEMENTS = 5;

export async function judgeResult(judging: Judging): Promise<Judged> {
  const judged = await judgeAndPromote(judging);
  const { input, opening } = judging;
  if (input.retrain !== undefined) {
    const { spec, data } = input.retrain;
    // The run records it and not the retrain, which may be gone by now.
    await control(input.cluster, `record the retrain of ${opening.publishAs}`).recordRetrain({
      model: opening.publishAs,
      retrain: { runId: input.runId, spec, data, outcome: judged.outcome },
    });
  }
  return judged;
}

async function judgeAndPromote({ input, opening, evaluated, evaluateAgainst }: Judging): Promise<Judged> {
  const { runId, cluster, retrain } = input;
  const { minimumAccuracy, publishAs: model } = opening;
  for (let judgement = 1; ; judgement += 1) {
    const { rival, ...result } = evaluated();
    const { accuracy, baseAccuracy, published, weightsDigest, data } = result;
    const judged = { runId, ...result };
    const promoted = rival === null ? {} : { promoted: { number: rival.number, accuracy: baseAccuracy } };
    const why = whyRejected({ accuracy, minimumAccuracy, ...promoted });
    if (why !== undefined) return { ...judged, outcome: 'rejected', why };
    const base = retrain === undefined ? {} : { base: rival?.number ?? 0 };
    // A stop that comes now is too late: what may have been promoted must not end as stopped.
    const outcome = await CancellationScope.nonCancellable(() =>
      control(cluster, `promote to ${model}`).promote({
        model,
        promotion: { runId, published, weightsDigest, accuracy, data, ...base },
      }),
    );
    if ('number' in outcome) return { ...judged, outcome: 'promoted', promotion: outcome.number };
    if ('supersededBy' in outcome) {
      const newer = `Promotion ${String(outcome.supersededBy)} of ${model} was trained on newer data.`;
      return { ...judged, outcome: 'superseded', why: newer };
    }
    if (judgement === JUDGEMENTS)
      throw ApplicationFailure.nonRetryable(
        `Another result was promoted to ${model} during each of ${String(JUDGEMENTS)} evaluations in a row.`,
        'BudgetExhausted',
      );
    await evaluateAgainst(outcome.judgeAgainst);
  }
}

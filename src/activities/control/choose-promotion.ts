/** A promotion by hand: the result of a run, or an earlier promotion made current again; one number more in either case. */
import { WorkflowFailedError, WorkflowNotFoundError } from '@temporalio/client';
import type { ControlActivities, PromotionChoice } from '../../contract/activities.js';
import type { FineTuneResult } from '../../contract/messages.js';
import { runWorkflowId } from '../../contract/names.js';
import { promotionPrefix, specKey } from '../../contract/store-keys.js';
import { originOf, rollbackTarget, type Promotion, type PromotionFact } from '../../plan/promotions.js';
import { readFacts } from '../../storage/facts.js';
import { failure, orFail } from '../fail.js';
import { readSpec } from '../run-documents.js';
import type { ControlDeps } from './deps.js';
import { appendNext } from './next-fact.js';

/** A promotion without the number and the story of how it came to be. */
type Model = Pick<PromotionFact, 'runId' | 'published' | 'weightsDigest' | 'accuracy' | 'data'>;

export function createChoosePromotion({ store, client }: ControlDeps): ControlActivities['choosePromotion'] {
  return ({ request, choice, why }) =>
    orFail(async () => {
      const model = await modelOf(choice);
      const result = 'runId' in choice ? await resultOf(choice.runId, model) : undefined;
      const end = await appendNext<PromotionFact, Promotion>(store, promotionPrefix(model), (promotions) => {
        // An attempt that was lost after its write finds its own choice.
        const mine = promotions.find(({ chosen }) => chosen?.request === request);
        if (mine !== undefined) return { done: mine };
        if (result === undefined || !('runId' in choice))
          return { append: broughtBack(model, promotions, 'rollBackTo' in choice ? choice.rollBackTo : null) };
        const current = promotions.at(-1);
        if (current?.published.digest === result.published.digest) return { done: current };
        return { append: { ...bare(result), chosen: { request, why } } };
      });
      return { model, promotion: 'done' in end ? end.done : end.appended };

      function broughtBack(of: string, promotions: readonly Promotion[], to: number | null): PromotionFact {
        const target = rollbackTarget(promotions, to);
        if (typeof target === 'string') throw refused(`Model ${of} ${target}: see anneal models show ${of}.`);
        return { ...bare(target), chosen: { request, why, bringsBack: originOf(target) } };
      }
    });

  async function modelOf(choice: PromotionChoice): Promise<string> {
    if ('model' in choice) return choice.model;
    if ((await store.head(specKey(choice.runId))) === undefined)
      throw refused(`There is no run ${choice.runId} in ${store.url}: see anneal runs.`);
    return (await readSpec(store, choice.runId)).publish.model;
  }

  /** Of a run that was promoted once from the store, at any time; of another one for as long as Temporal knows it. */
  async function resultOf(runId: string, model: string): Promise<Model> {
    const promotions = (await readFacts(store, promotionPrefix(model))).map(({ body }) => body as PromotionFact);
    const promoted = promotions.find((one) => one.runId === runId);
    if (promoted !== undefined) return promoted;
    const run = client.workflow.getHandle<() => Promise<FineTuneResult>>(runWorkflowId(runId));
    try {
      if ((await run.describe()).status.name === 'RUNNING')
        throw refused(`Run ${runId} has not ended yet: wait for its end with anneal watch ${runId}.`);
      return await run.result();
    } catch (error) {
      if (error instanceof WorkflowNotFoundError)
        throw refused(
          `Temporal does not know run ${runId} any more, and it was never promoted: submit its spec again.`,
        );
      if (error instanceof WorkflowFailedError)
        throw refused(`Run ${runId} ended without a result, so it has no model to promote.`);
      throw error;
    }
  }
}

const refused = (message: string): Error => failure('ChoiceRefused', message);

function bare({ runId, published, weightsDigest, accuracy, data }: Model): Model {
  return { runId, published, weightsDigest, accuracy, data };
}

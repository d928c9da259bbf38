/** Promotion: one more create-once number under the model's name; the highest is the current one. */
import type { ControlActivities, PromoteOutcome } from '../../contract/activities.js';
import { promotionPrefix } from '../../contract/store-keys.js';
import { decidePromotion, type PromotionFact } from '../../plan/promotions.js';
import { orFail } from '../fail.js';
import type { ControlDeps } from './deps.js';
import { appendNext } from './next-fact.js';

export function createPromote({ store }: ControlDeps): ControlActivities['promote'] {
  return ({ model, promotion }) =>
    orFail(async () => {
      // An attempt that was lost after its write finds its own promotion, and promotes nothing twice.
      const end = await appendNext<PromotionFact, PromoteOutcome>(store, promotionPrefix(model), (promotions) => {
        const decided = decidePromotion(promotion, promotions);
        switch (decided.decision) {
          case 'append':
            return { append: promotion };
          case 'done':
            return { done: { number: decided.number } };
          case 'superseded':
            return { done: { supersededBy: decided.by } };
          case 'judge again': {
            const { number, published } = decided.current;
            return { done: { judgeAgainst: { number, published } } };
          }
        }
      });
      return 'done' in end ? end.done : { number: end.appended.number };
    });
}

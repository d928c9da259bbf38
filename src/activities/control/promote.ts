/** Promotion: one more create-once number under the model's name; the highest is the current one. */
import type { ControlActivities, PromoteInput } from '../../contract/activities.js';
import { appendFact, readFacts } from '../../storage/facts.js';
import { promotionPrefix } from '../../contract/store-keys.js';
import { isStoreError } from '../../storage/errors.js';
import { failure, orFail } from '../fail.js';
import type { ControlDeps } from './deps.js';

/** Runs that promote the same model at the same moment; more in a row means that something else is wrong. */
const RACES = 10;

export function createPromote({ store }: ControlDeps): ControlActivities['promote'] {
  return (input) =>
    orFail(async () => {
      const prefix = promotionPrefix(input.model);
      for (let race = 0; race < RACES; race += 1) {
        const facts = await readFacts(store, prefix);
        // An attempt that was lost after its write finds its own promotion, and promotes nothing twice.
        const mine = facts.find(({ body }) => (body as PromoteInput).runId === input.runId);
        // Nor does a run that has reused everything: its result is the current model already.
        const current = facts.at(-1);
        const isCurrent = (current?.body as PromoteInput | undefined)?.published.digest === input.published.digest;
        const done = mine ?? (isCurrent ? current : undefined);
        if (done !== undefined) return { number: done.number };
        try {
          await appendFact(store, prefix, facts.length + 1, input);
          return { number: facts.length + 1 };
        } catch (error) {
          if (!isStoreError(error, 'Conflict')) throw error;
        }
      }
      throw failure(
        'StoreUnavailable',
        `Promotion of ${input.model} lost ${String(RACES)} races in a row; it is tried again.`,
      );
    });
}

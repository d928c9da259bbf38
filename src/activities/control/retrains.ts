/** What a retrain asks before its run begins, and the fact that it leaves behind. */
import { composePlan } from '../../backends/compose-plan.js';
import type { ControlActivities } from '../../contract/activities.js';
import { refuseTrainFrom } from '../../contract/messages.js';
import { looseSpecKey, promotionPrefix, retrainPrefix } from '../../contract/store-keys.js';
import { unchangedSince, type PromotionFact, type RetrainFact } from '../../plan/promotions.js';
import { showRefusal } from '../../spec/refusal.js';
import { highest, readFacts } from '../../storage/facts.js';
import { canonicalJson, digestOf, sha256Hex } from '../../storage/hashing.js';
import { failure, orFail } from '../fail.js';
import type { ControlDeps } from './deps.js';
import { appendNext } from './next-fact.js';
import { ensurePool } from './open-run.js';

export function createRetrains(
  deps: ControlDeps,
): Pick<ControlActivities, 'openRetrain' | 'lookAtModel' | 'recordRetrain'> {
  const { store } = deps;
  return {
    openRetrain: ({ cluster, spec, from }) =>
      orFail(async () => {
        // It could be planned when the schedule was created; this worker may be of another version.
        const composed = composePlan(spec);
        if ('refusals' in composed)
          throw failure('SpecInvalid', composed.refusals.map(showRefusal).join('\n'), composed.refusals);
        const refused = refuseTrainFrom(from, spec);
        if (refused !== undefined) throw failure('SpecInvalid', refused);
        const body = canonicalJson(spec);
        const specKey = looseSpecKey(sha256Hex(body));
        await store.create(specKey, body);
        await ensurePool(deps, cluster);
        return { runtime: spec.runtime.kind, spec: digestOf({ spec, from }), specKey };
      }),
    lookAtModel: ({ model, spec, fingerprint }) =>
      orFail(async () => {
        const retrains = (await readFacts(store, retrainPrefix(model))).map(({ body }) => body as RetrainFact);
        const current = await highest(store, promotionPrefix(model));
        return {
          trainedBy: unchangedSince(retrains, { spec, fingerprint })?.runId ?? null,
          current:
            current === undefined
              ? null
              : { number: current.number, published: (current.body as PromotionFact).published },
        };
      }),
    recordRetrain: ({ model, retrain }) =>
      orFail(async () => {
        await appendNext<RetrainFact, null>(store, retrainPrefix(model), (retrains) =>
          retrains.some(({ runId }) => runId === retrain.runId) ? { done: null } : { append: retrain },
        );
      }),
  };
}

/** Models: what is promoted under which name, read from the store; choices by hand, written by the control worker. */
import { randomUUID } from 'node:crypto';
import { type Client, WorkflowFailedError } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import type { ChosenPromotion, PromotionChoice } from '../contract/activities.js';
import { type ChooseModelInput, WORKFLOW_TYPES } from '../contract/messages.js';
import { choiceWorkflowId, controlQueue } from '../contract/names.js';
import { MODELS_PREFIX, promotionPrefix } from '../contract/store-keys.js';
import type { Promotion, PromotionFact } from '../plan/promotions.js';
import { readFacts } from '../storage/facts.js';
import type { ObjectStore } from '../storage/object-store.js';
import type { Place } from './connect.js';
import { ChoiceRefusedError, ModelNotFoundError, ServerUnreachableError } from './errors.js';
import { openStore } from './store.js';

export interface ModelListing {
  readonly name: string;
  readonly current: Promotion;
}

/** For those who have a store and need no server. */
export async function listModels(store: ObjectStore): Promise<readonly ModelListing[]> {
  const names = new Set<string>();
  for await (const { key } of store.list(MODELS_PREFIX)) names.add(key.slice(MODELS_PREFIX.length).split('/')[0] ?? '');
  return Promise.all(
    [...names].map(async (name) => {
      const promotions = await promotionsOf(store, name);
      return { name, current: promotions.at(-1) as Promotion };
    }),
  );
}

/** For those who have a store and need no server. Throws ModelNotFoundError. */
export async function promotionsOf(store: ObjectStore, name: string): Promise<readonly Promotion[]> {
  const promotions = (await readFacts(store, promotionPrefix(name))).map(({ number, body }) => ({
    ...(body as PromotionFact),
    number,
  }));
  if (promotions.length === 0)
    throw new ModelNotFoundError(
      `No model "${name}" was ever promoted in ${store.url}. "anneal models list" lists those that were.`,
    );
  return promotions;
}

/** A control worker answers within a second; longer means that none is there, or that its store is away. */
const CHOICE_LIMIT_MS = 60_000;

export class Models {
  readonly #client: Client;
  readonly #place: Pick<Place, 'cluster' | 'store'>;

  constructor(client: Client, place: Pick<Place, 'cluster' | 'store'>) {
    this.#client = client;
    this.#place = place;
  }

  /** Models of the cluster's store with what is current, by name. */
  async list(): Promise<readonly ModelListing[]> {
    return listModels(await openStore(this.#place));
  }

  /** All promotions of a model, oldest first: the last one is the current model. Throws ModelNotFoundError. */
  async show(name: string): Promise<readonly Promotion[]> {
    return promotionsOf(await openStore(this.#place), name);
  }

  /** Makes the model that a run has published the current one, whatever its gate said. Throws ChoiceRefusedError. */
  promote(runId: string, why: string): Promise<ChosenPromotion> {
    return this.#choose({ runId }, why);
  }

  /** Makes promotion `to`, or without one the last other model before the current, current again. Throws ChoiceRefusedError. */
  rollback(model: string, why: string, { to }: { readonly to?: number } = {}): Promise<ChosenPromotion> {
    return this.#choose({ model, rollBackTo: to ?? null }, why);
  }

  async #choose(choice: PromotionChoice, why: string): Promise<ChosenPromotion> {
    const request = randomUUID();
    const { cluster } = this.#place;
    const input: ChooseModelInput = { cluster, request, choice, why };
    try {
      return await this.#client.workflow.execute<(input: ChooseModelInput) => Promise<ChosenPromotion>>(
        WORKFLOW_TYPES.chooseModel,
        {
          workflowId: choiceWorkflowId(request),
          taskQueue: controlQueue(cluster),
          args: [input],
          workflowExecutionTimeout: CHOICE_LIMIT_MS,
          staticSummary: 'runId' in choice ? `promote run ${choice.runId}` : `roll ${choice.model} back`,
        },
      );
    } catch (error) {
      if (!(error instanceof WorkflowFailedError)) throw error;
      if (error.cause instanceof ApplicationFailure && error.cause.type === 'ChoiceRefused')
        throw new ChoiceRefusedError(error.cause.message, { cause: error });
      throw new ServerUnreachableError(
        `No control worker of cluster "${cluster}" has written the choice within ${String(CHOICE_LIMIT_MS / 1000)} s. ` +
          'Start one with "anneal worker", or look whether its store is there; then ask again.',
        { cause: error },
      );
    }
  }
}

/** A promotion by hand: the control worker writes it, so that whoever asks needs no store, and the request stays on record. */
import { upsertSearchAttributes } from '@temporalio/workflow';
import type { ChosenPromotion } from '../contract/activities.js';
import type { ChooseModelInput } from '../contract/messages.js';
import { control } from './activities.js';
import { asRoot } from './failure.js';
import { searchAttribute } from './search-attributes.js';

export async function chooseModel({ cluster, ...choice }: ChooseModelInput): Promise<ChosenPromotion> {
  try {
    const chosen = await control(cluster, choice.why).choosePromotion(choice);
    upsertSearchAttributes([searchAttribute('AnnealModel', chosen.model)]);
    return chosen;
  } catch (error) {
    throw asRoot(error);
  }
}

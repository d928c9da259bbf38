/** The store of the cluster that a client talks to, for what a run leaves there. */
import type { ObjectStore } from '../storage/object-store.js';
import { openStore as open } from '../storage/open-store.js';
import { parseStoreAddress } from '../storage/store-settings.js';
import type { Place } from './connect.js';
import { StoreUnknownError } from './errors.js';

export async function openStore({ store }: Pick<Place, 'store'>): Promise<ObjectStore> {
  if (store === undefined)
    throw new StoreUnknownError(
      'No store is known for this cluster. Connect with { store: FOLDER or ADDRESS }, or set ANNEAL_STORE and pass the environment.',
    );
  return open(parseStoreAddress(store));
}

/** Opens in a child process the store that a test has named on its command line. */
import { openStore as openStoreOf } from '../../../src/storage/open-store.js';
import type { ObjectStore } from '../../../src/storage/object-store.js';
import type { StoreSettings } from '../../../src/storage/store-settings.js';

export function openStore(text: string): Promise<ObjectStore> {
  return openStoreOf(JSON.parse(text) as StoreSettings);
}

/** Opens the store that settings name. The code of a kind is loaded when it is needed: S3 brings a large SDK. */
import { isStoreError } from './errors.js';
import type { ObjectStore } from './object-store.js';
import type { StoreSettings } from './store-settings.js';

export async function openStore({ folder, s3 }: StoreSettings): Promise<ObjectStore> {
  if (s3 === undefined) return new (await import('./folder-store.js')).FolderStore(folder ?? '');
  return new (await import('./s3-store.js')).S3Store(s3);
}

/**
 * For a process that will write: refuses a store that cannot fence (`CannotFence`). A store that is away is no reason not to start: it
 * is asked before the first write.
 */
export async function openStoreToWrite({ folder, s3 }: StoreSettings): Promise<ObjectStore> {
  if (s3 === undefined) return openStore({ folder });
  const store = new (await import('./s3-store.js')).S3Store(s3);
  try {
    await store.prove();
  } catch (error) {
    if (!isStoreError(error, 'Unavailable')) throw error;
  }
  return store;
}

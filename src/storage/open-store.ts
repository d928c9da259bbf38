/** Opens the store that settings name. The code of a kind is loaded when it is needed: S3 brings a large SDK. */
import { setTimeout as delay } from 'node:timers/promises';
import { isStoreError } from './errors.js';
import type { ObjectStore } from './object-store.js';
import type { StoreSettings } from './store-settings.js';

export async function openStore({ folder, s3 }: StoreSettings): Promise<ObjectStore> {
  if (s3 === undefined) return new (await import('./folder-store.js')).FolderStore(folder ?? '');
  return new (await import('./s3-store.js')).S3Store(s3);
}

/** An agent's start must not wait for a store that hangs: its trainers wait to be adopted. */
const proofLimitMs = 5_000;

/**
 * For a process that will write: refuses a store that cannot fence (`CannotFence`). One that is away or slow is no reason not to start:
 * whatever it answers, it answers before the first write.
 */
export async function openStoreToWrite({ folder, s3 }: StoreSettings): Promise<ObjectStore> {
  if (s3 === undefined) return openStore({ folder });
  const store = new (await import('./s3-store.js')).S3Store(s3);
  try {
    await Promise.race([store.prove(), delay(proofLimitMs, undefined, { ref: false })]);
  } catch (error) {
    if (!isStoreError(error, 'Unavailable')) throw error;
  }
  return store;
}

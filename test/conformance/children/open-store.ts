/** Opens in a child process the store that a test has named on its command line. */
import { FolderStore } from '../../../src/storage/folder-store.js';
import type { ObjectStore } from '../../../src/storage/object-store.js';

/** A store as plain data, so that another process can open it. */
export interface StoreAddress {
  readonly kind: 'folder';
  readonly folder: string;
}

export function openStore(text: string): ObjectStore {
  const address = JSON.parse(text) as StoreAddress;
  return new FolderStore(address.folder);
}

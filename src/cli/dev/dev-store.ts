/** Which store an `anneal dev` works on: a folder of its own, an S3 server of its own, or the store whose address it is given. */
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { DevState } from '../../client/dev-state.js';
import {
  formatStoreAddress,
  parseStoreAddress,
  pathInStore,
  type StoreSettings,
} from '../../storage/store-settings.js';
import { CommandError } from '../exit-codes.js';
import type { KeptSpec } from './kept-process.js';
import { s3Server, type S3ServerPlace } from './s3-server.js';

/** As `--store` says it. */
const OWN_S3 = 's3';
/** The store of a state folder that was given none. */
export const STORE_FOLDER = 'store';

export interface DevStore {
  readonly settings: StoreSettings;
  /** To be kept running, where the store has a server of ours. */
  readonly server?: KeptSpec;
}

export async function devStore(wish: string | undefined, place: S3ServerPlace): Promise<DevStore> {
  if (wish === undefined) {
    const own = join(place.folder, STORE_FOLDER);
    // Its first use would make it, and until then each host would say that its store is not there.
    await mkdir(own, { recursive: true });
    return { settings: { folder: own } };
  }
  if (wish === OWN_S3) {
    const { server, s3 } = await s3Server(place);
    return { settings: { s3 }, server };
  }
  const { folder, s3 } = parseStoreAddress(wish);
  if (s3 === undefined) return { settings: { folder: resolve(folder ?? '') } };
  // The children work in other folders than whoever typed it.
  const { credentialsFile } = s3;
  return {
    settings: {
      s3: { ...s3, ...(credentialsFile === undefined ? {} : { credentialsFile: resolve(credentialsFile) }) },
    },
  };
}

/** The runs of a state folder know their things in one store; in another they would find nothing. */
export function refuseOtherStore(before: DevState | undefined, settings: StoreSettings): void {
  const now = formatStoreAddress(settings);
  if (before === undefined || withoutOwnPort(before.store) === withoutOwnPort(now)) return;
  throw new CommandError(
    'refused',
    `The runs of this state folder have their store in ${before.store}, not in ${now}. ` +
      'Give the same --store as before, or another --state-dir.',
  );
}

/** A server of ours may have another port at each start. */
function withoutOwnPort(address: string): string {
  return address.replace(/(endpoint=http%3A%2F%2F127\.0\.0\.1)%3A\d+/, '$1');
}

/** `--fresh` empties what a state folder holds; a store that was given is somebody else's. */
export function refuseToEmpty(wish: string | undefined): void {
  if (wish === undefined || wish === OWN_S3) return;
  throw new CommandError(
    'refused',
    `--fresh cannot empty the store ${pathInStore(wish, '')}, and with what is in it nothing is trained anew. Give another prefix instead.`,
  );
}

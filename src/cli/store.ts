/** The store that a command reads: of the `anneal dev` that is meant, or of --store. */
import type { ObjectStore } from '../storage/object-store.js';
import { CommandError } from './exit-codes.js';
import { whereOf, type WhereFlags } from './where.js';

export async function openStore(flags: WhereFlags): Promise<ObjectStore> {
  const address = await storeAddress(flags);
  if (address === undefined)
    throw new CommandError(
      'notFound',
      'No store is known here. Give --store or set ANNEAL_STORE, or call this where "anneal dev" was started.',
    );
  const { parseStoreAddress } = await import('../storage/store-settings.js');
  const { openStore: open } = await import('../storage/open-store.js');
  return open(parseStoreAddress(address));
}

/** A folder, or the address of a store on S3. Undefined when nobody names one; needs no server. */
export async function storeAddress(flags: WhereFlags): Promise<string | undefined> {
  const where = whereOf(flags);
  if (where.store !== undefined) return where.store;
  const { resolvePlace } = await import('../client/connect.js');
  const place = await resolvePlace(where).catch(() => undefined);
  return place?.store ?? where.env?.['ANNEAL_STORE'];
}

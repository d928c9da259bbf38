/** The store that a command reads: of the `anneal dev` that is meant, or of --store. */
import type { ObjectStore } from '../storage/object-store.js';
import { CommandError } from './exit-codes.js';
import { whereOf, type WhereFlags } from './where.js';

export async function openStore(flags: WhereFlags): Promise<ObjectStore> {
  const folder = await storeFolder(flags);
  if (folder === undefined)
    throw new CommandError(
      'notFound',
      'No store is known here. Give --store FOLDER or set ANNEAL_STORE, or call this where "anneal dev" was started.',
    );
  const { FolderStore } = await import('../storage/folder-store.js');
  return new FolderStore(folder);
}

/** Undefined when nobody names one; needs no server. */
export async function storeFolder(flags: WhereFlags): Promise<string | undefined> {
  const where = whereOf(flags);
  if (where.store !== undefined) return where.store;
  const { resolvePlace } = await import('../client/connect.js');
  const place = await resolvePlace(where).catch(() => undefined);
  return place?.store ?? where.env?.['ANNEAL_STORE'];
}

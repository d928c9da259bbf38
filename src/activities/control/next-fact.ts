/** Appends a fact under the next free number; who loses the race for it looks again before it takes the one after. */
import { appendFact, readFacts } from '../../storage/facts.js';
import { isStoreError } from '../../storage/errors.js';
import type { ObjectStore } from '../../storage/object-store.js';
import { failure } from '../fail.js';

/** Writers that append under one prefix at the same moment; more in a row means that something else is wrong. */
const RACES = 10;

/** `look` gets all facts, oldest first, each with its number, and gives the body to append or what makes it needless. */
export async function appendNext<Body extends object, Done>(
  store: ObjectStore,
  prefix: string,
  look: (facts: readonly (Body & { readonly number: number })[]) => { readonly append: Body } | { readonly done: Done },
): Promise<{ readonly appended: Body & { readonly number: number } } | { readonly done: Done }> {
  for (let race = 0; race < RACES; race += 1) {
    const facts = await readFacts(store, prefix);
    const next = look(facts.map(({ number, body }) => ({ ...(body as Body), number })));
    if ('done' in next) return next;
    const number = facts.length + 1;
    try {
      await appendFact(store, prefix, number, next.append);
      return { appended: { ...next.append, number } };
    } catch (error) {
      if (!isStoreError(error, 'Conflict')) throw error;
    }
  }
  throw failure(
    'StoreUnavailable',
    `A fact under ${prefix} lost ${String(RACES)} races for its number in a row; it is tried again.`,
  );
}

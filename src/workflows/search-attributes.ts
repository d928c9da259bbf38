/** Search attributes by name, with the type that they are registered with. */
import { defineSearchAttributeKey, type SearchAttributeUpdatePair } from '@temporalio/common';
import type { SearchAttributeName } from '../contract/names.js';

/** Every attribute of ours is a keyword, a list of keywords or a whole number, so the value tells the type. */
export function searchAttribute(
  name: SearchAttributeName,
  value: string | number | readonly string[],
): SearchAttributeUpdatePair {
  if (typeof value === 'string') return { key: defineSearchAttributeKey(name, 'KEYWORD'), value };
  if (typeof value === 'number') return { key: defineSearchAttributeKey(name, 'INT'), value };
  return { key: defineSearchAttributeKey(name, 'KEYWORD_LIST'), value: [...value] };
}

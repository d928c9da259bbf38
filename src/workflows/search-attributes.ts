/** Search attributes by name, with the type that they are registered with, written only when they change. */
import { defineSearchAttributeKey, type SearchAttributeUpdatePair } from '@temporalio/common';
import { upsertSearchAttributes } from '@temporalio/workflow';
import type { SearchAttributeName } from '../contract/names.js';

type Value = string | number | readonly string[];

/** What a workflow has last written. */
export class CurrentAttributes {
  private readonly written = new Map<SearchAttributeName, string>();

  /** One event for all that differ, none if nothing does. */
  set(values: Readonly<Partial<Record<SearchAttributeName, Value>>>): void {
    const changed = Object.entries(values).filter(
      ([name, value]) => this.written.get(name as SearchAttributeName) !== JSON.stringify(value),
    );
    if (changed.length === 0) return;
    for (const [name, value] of changed) this.written.set(name as SearchAttributeName, JSON.stringify(value));
    upsertSearchAttributes(changed.map(([name, value]) => searchAttribute(name as SearchAttributeName, value)));
  }
}

/** Every attribute of ours is a keyword, a list of keywords or a whole number, so the value tells the type. */
export function searchAttribute(name: SearchAttributeName, value: Value): SearchAttributeUpdatePair {
  if (typeof value === 'string') return { key: defineSearchAttributeKey(name, 'KEYWORD'), value };
  if (typeof value === 'number') return { key: defineSearchAttributeKey(name, 'INT'), value };
  return { key: defineSearchAttributeKey(name, 'KEYWORD_LIST'), value: [...value] };
}

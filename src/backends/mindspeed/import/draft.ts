/** A spec that is being put together: its fields, where each comes from, and what else is told of the import. */
import type { Refusal } from '../../../spec/refusal.js';
import { valueAt } from '../../../spec/json-schema.js';

export type Verdict = 'carried' | 'same' | 'added' | 'dropped' | 'not carried' | 'not understood';

/** One line of the list that an import prints. */
export interface Entry {
  /** Where it stands in the script; left out for what does not stand there. */
  readonly line?: number;
  readonly lastLine?: number;
  /** The other file that it stands in. */
  readonly file?: string;
  readonly what: string;
  readonly verdict: Verdict;
  /** Where it went, or why it went nowhere. */
  readonly note: string;
}

/** Where a field of the spec comes from: what the user has to change when it is refused. */
export interface Origin {
  readonly what: string;
  readonly line?: number;
  readonly file?: string;
}

type Path = readonly (string | number)[];

export class Draft {
  readonly document: Record<string, unknown> = {};
  readonly entries: Entry[] = [];
  readonly refusals: Refusal[] = [];
  readonly #origins = new Map<string, Origin>();
  readonly #unknown = new Set<string>();

  /** A value of the user's; `what` is how its place is shown in the list, with the value. */
  carry(path: Path, value: unknown, origin: Origin, what = origin.what): void {
    this.#set(path, value);
    this.#origins.set(path.join('.'), origin);
    const shown = typeof value === 'string' ? value : JSON.stringify(value);
    this.tell({ ...origin, what, verdict: 'carried', note: `${path.join('.')}: ${shown}` });
  }

  /** A value that the spec needs and the user's files do not have. */
  add(path: Path, value: unknown, why: string): void {
    this.#set(path, value);
    this.tell({ what: `${path.join('.')}: ${JSON.stringify(value)}`, verdict: 'added', note: why });
  }

  /** Says where a field would come from, for a refusal of one that is missing. */
  expect(path: Path, origin: Origin): void {
    if (!this.#origins.has(path.join('.'))) this.#origins.set(path.join('.'), origin);
  }

  tell(entry: Entry): void {
    this.entries.push(entry);
  }

  refuse(origin: Origin, value: unknown, rule: string, remedy: string): void {
    this.refusals.push(refusalAt(origin, { value, rule, remedy }));
  }

  /** Refuses what one unknown variable leaves unknown once only: the first remedy is that of all. */
  refuseUnknown(origin: Origin, value: unknown, { why, name }: { why: string; name?: string }, remedy: string): void {
    if (name !== undefined && this.#unknown.has(name)) return;
    if (name !== undefined) this.#unknown.add(name);
    this.refuse(origin, value, `must be known, but ${name ?? 'it'} ${why}`, remedy);
  }

  /** In the words of the user's files: a refusal of the spec that they would make. */
  inTheirWords(refusal: Refusal): Refusal {
    const steps = refusal.path.split('.');
    for (let length = steps.length; length > 0; length -= 1) {
      const origin = this.#origins.get(steps.slice(0, length).join('.'));
      if (origin === undefined) continue;
      const remedy =
        refusal.value === undefined ? `Add ${origin.what} to ${origin.file ?? 'the script'}.` : refusal.remedy;
      return refusalAt(origin, { ...refusal, remedy });
    }
    return refusal;
  }

  #set(path: Path, value: unknown): void {
    const parent = path.slice(0, -1).reduce<Record<string, unknown>>((group, step) => {
      const inner = valueAt(group, [step]) ?? {};
      group[step] = inner;
      return inner as Record<string, unknown>;
    }, this.document);
    parent[path.at(-1) ?? ''] = value;
  }
}

function refusalAt(
  { what, line, file }: Origin,
  { value, rule, remedy }: Pick<Refusal, 'value' | 'rule' | 'remedy'>,
): Refusal {
  const path = file === undefined ? what : `${file}: ${what}`;
  return line === undefined ? { path, value, rule, remedy } : { path, value, rule, remedy, line };
}

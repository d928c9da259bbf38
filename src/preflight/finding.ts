/** What speaks against training on a host, and how chips of one board that say the same are told of together. */
import type { ChipReadings } from './host-readings.js';
import type { Reading } from './reading.js';

/** `refuse`: a training there would fail or be wrong; `warn`: it may, or another host of its gang may differ. */
export type Severity = 'refuse' | 'warn';

export interface Finding {
  readonly severity: Severity;
  /** What is the case. */
  readonly sentence: string;
  readonly value: string;
  /** What must hold, as the end of the sentence "it …". */
  readonly rule: string;
  readonly remedy: string;
  /** With which reason the host would be cordoned; null when it would not be. */
  readonly cordon: string | null;
}

export interface CheckResult {
  readonly check: string;
  /** What was found, in a few words, also where nothing is wrong. */
  readonly state: string;
  readonly findings: readonly Finding[];
}

export function finding(severity: Severity, of: Omit<Finding, 'severity' | 'cordon'>): Finding {
  return { severity, ...of, cordon: severity === 'refuse' ? of.sentence : null };
}

/** Of what could not be read: it may be well or not, and nobody knows. */
export function unreadFinding(severity: Severity, what: string, why: string, remedy: string): Finding {
  return finding(severity, {
    sentence: `${what} could not be read (${why}).`,
    ...{ value: 'unknown', rule: 'must be readable in a form that is known', remedy },
  });
}

/** What is wrong with one chip; the sentence gets all chips of which the same is said. */
export interface ChipTrouble extends Omit<Finding, 'sentence' | 'cordon'> {
  readonly sentence: (chips: string) => string;
}

/** One finding for all chips with the same trouble: eight times the same line would hide the ninth. */
export function chipFindings(
  chips: readonly ChipReadings[],
  look: (chip: ChipReadings) => ChipTrouble | undefined,
): readonly Finding[] {
  const groups = new Map<string, { readonly trouble: ChipTrouble; readonly ids: number[] }>();
  for (const one of chips) {
    const trouble = look(one);
    if (trouble === undefined) continue;
    const key = JSON.stringify([trouble.severity, trouble.value, trouble.rule, trouble.sentence('')]);
    const group = groups.get(key) ?? { trouble, ids: [] };
    group.ids.push(one.chip.physicalId);
    groups.set(key, group);
  }
  return [...groups.values()].map(({ trouble: { severity, sentence, ...of }, ids }) =>
    finding(severity, { ...of, sentence: sentence(chipNames(ids)) }),
  );
}

/** The same for a value that may not have been read. */
export function judgeChips<T>(
  chips: readonly ChipReadings[],
  what: { readonly name: string; readonly unread: Severity; readonly remedy: string },
  read: (chip: ChipReadings) => Reading<T>,
  judge: (value: T, chip: ChipReadings) => ChipTrouble | undefined,
): readonly Finding[] {
  return chipFindings(chips, (chip) => {
    const found = read(chip);
    if ('value' in found) return judge(found.value, chip);
    return {
      severity: found.isLate === true ? 'warn' : what.unread,
      sentence: (ids) => `${what.name} of ${ids} could not be read (${found.unread}).`,
      ...{ value: 'unknown', rule: 'must be readable in a form that is known', remedy: what.remedy },
    };
  });
}

/** `chip 3`, `chips 0, 1 and 5`, `chips 0-7`. */
export function chipNames(ids: readonly number[]): string {
  const sorted = ids.toSorted((a, b) => a - b);
  const [first, last] = [sorted[0] ?? 0, sorted.at(-1) ?? 0];
  if (sorted.length < 2) return `chip ${sorted.join('')}`;
  if (sorted.length > 2 && last - first === sorted.length - 1) return `chips ${String(first)}-${String(last)}`;
  return `chips ${sorted.slice(0, -1).join(', ')} and ${String(last)}`;
}

/** `UP`, or `UP (7), DOWN (1)`: each value with how many have it. */
export function tally(values: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  if (counts.size === 1) return values[0] ?? '';
  return [...counts].map(([value, count]) => `${value} (${String(count)})`).join(', ');
}

export function shown<T>(read: Reading<T>, show: (value: T) => string): string {
  return 'value' in read ? show(read.value) : 'unknown';
}

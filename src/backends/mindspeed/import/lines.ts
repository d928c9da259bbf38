/** The lines of a script that are no argument themselves: what they set, and what was made of that. */
import type { Draft, Entry, Verdict } from './draft.js';
import type { Command, Flag } from './launch.js';
import type { Script } from './script.js';

/** Adds an entry for each assignment and each other line, and puts all entries in the order of the script. */
export function accountForLines(draft: Draft, script: Script, command: Command): void {
  for (const { line, lastLine, source, verdict, why } of script.remarks)
    draft.tell({ line, lastLine, what: onOneLine(source), verdict, note: why });
  for (const field of command.stray)
    draft.tell({
      line: field.line,
      what: field.text,
      verdict: 'not understood',
      note:
        field.unknown === undefined
          ? 'Neither a flag nor the value of one.'
          : `May hold any flags: it ${field.unknown.why}.`,
    });
  const flags = [...command.launcher, ...command.trainer];
  const verdicts = verdictsOf(flags, draft.entries);
  for (const { line, lastLine, variable, value, source, exported } of script.assignments) {
    const users = flags.filter(({ fields }) => fields.some(({ from }) => from.includes(variable)));
    // A list of flags is told of flag by flag, an exported variable as part of the environment.
    if (exported || (users.length > 1 && /\s--?[a-z]/.test(value.text))) continue;
    const at = { line, lastLine, what: onOneLine(source) };
    const names = [...new Set(users.map(({ name }) => name))].join(', ');
    if (users.length > 0) draft.tell({ ...at, verdict: verdicts(users), note: `Used by ${names}.` });
    else if (value.unknown === undefined)
      draft.tell({ ...at, verdict: 'dropped', note: 'No argument of the training uses it.' });
    else
      draft.tell({
        ...at,
        verdict: 'not understood',
        note: `It ${value.unknown.why}; no argument of the training uses it.`,
      });
  }
  const entries = [...draft.entries].sort((one, other) => (one.line ?? Infinity) - (other.line ?? Infinity));
  draft.entries.splice(0, Infinity, ...entries);
}

const ORDER: readonly Verdict[] = ['carried', 'same', 'not carried', 'dropped'];

/** A variable is worth as much as the most that became of a flag which uses it. */
function verdictsOf(flags: readonly Flag[], entries: readonly Entry[]): (users: readonly Flag[]) => Verdict {
  const verdicts = new Map<string, Verdict>();
  for (const flag of flags) {
    const entry = entries.find(({ line, what }) => line === flag.line && what.split(' ')[0] === flag.name);
    if (entry !== undefined) verdicts.set(flag.name, entry.verdict);
  }
  return (users) => ORDER.find((verdict) => users.some(({ name }) => verdicts.get(name) === verdict)) ?? 'dropped';
}

function onOneLine(source: string): string {
  const text = source.replaceAll(/\s*\\?\n\s*/g, ' ');
  return text.length <= 100 ? text : `${text.slice(0, 97)}...`;
}

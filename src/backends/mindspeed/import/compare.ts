/** Holds what the script would have started against what the plan of its spec starts: nothing is the same because a table says so. */
import { isDeepStrictEqual } from 'node:util';
import type { CommandPlan, Plan } from '../../../plan/plan.js';
import { showArgument } from '../../../plan/plan.js';
import type { Draft } from './draft.js';
import { CARRIED_FLAGS, DROPPED_FLAGS, LORA_FLAGS } from './flag-table.js';
import { showFlag } from './flags.js';
import { type Flag, launcherName } from './launch.js';
import type { Assignment } from './script.js';

/** What stands in one of these was told of already. */
const ACCOUNTED = [DROPPED_FLAGS, CARRIED_FLAGS, LORA_FLAGS];

const NO_FIELD = 'A spec has no field for it, so the training goes without it.';

export function compareFlags(draft: Draft, plan: Plan, rest: readonly Flag[], all: readonly Flag[]): void {
  const ours = flagsOf(plan.stages.train.commands[0]);
  for (const flag of rest) {
    const values = flag.values.map(({ text }) => text);
    const planned = ours.get(launcherName(flag.name)) ?? ours.get(flag.name);
    const what = showFlag(flag);
    const { line } = flag;
    const unknown = flag.values.find((value) => value.unknown !== undefined)?.unknown;
    if (planned === undefined && unknown !== undefined)
      draft.tell({ line, what, verdict: 'not understood', note: `Its value ${unknown.why}.` });
    else if (planned === undefined) draft.tell({ line, what, verdict: 'not carried', note: NO_FIELD });
    else if (isSame(planned, values)) draft.tell({ line, what, verdict: 'same', note: 'Anneal passes the same.' });
    else if (flag.name === '--pipeline-model-parallel-size')
      draft.refuse(
        { what: flag.name, line },
        values.join(' '),
        `must be ${planned.join(' ')}, the number of stages in pipeline_num_layers of model.json`,
        'Make both equal: MindSpeed MM refuses to build the model otherwise.',
      );
    else
      draft.tell({
        line,
        what,
        verdict: 'dropped',
        note: `Anneal passes ${planned.join(' ') || 'it without a value'}.`,
      });
  }
  const theirs = new Set(all.flatMap(({ name }) => [name, launcherName(name)]));
  for (const [name, values] of ours)
    if (!theirs.has(name) && !theirs.has(launcherName(name)) && !ACCOUNTED.some((table) => name in table))
      draft.tell({ what: [name, ...values].join(' '), verdict: 'added', note: 'Passed to every training.' });
}

export function compareEntry(draft: Draft, plan: Plan, entry: { readonly text: string; readonly line: number }): void {
  const ours = plan.stages.train.commands[0]?.args.map(showArgument).find((one) => one.endsWith('.py')) ?? '';
  const name = (path: string): string => path.replace(/^.*\//, '');
  const isEqual = name(ours) === name(entry.text);
  draft.tell({
    line: entry.line,
    what: entry.text,
    verdict: isEqual ? 'same' : 'dropped',
    note: isEqual ? 'Anneal starts the same program.' : `Anneal starts ${name(ours)}.`,
  });
}

/** Exported variables against those that the plan gives the trainer, which gets no others. */
export function compareEnvironment(draft: Draft, plan: Plan, assignments: readonly Assignment[]): void {
  const ours = plan.stages.train.commands[0]?.env ?? {};
  const exported = assignments.filter((one) => one.exported);
  for (const { line, lastLine, variable, value, source } of exported) {
    const planned = ours[variable.name];
    const at = { line, lastLine, what: source };
    if (planned === undefined)
      draft.tell({
        ...at,
        verdict: 'not carried',
        note: 'A spec has no field for variables, and the trainer gets none of the shell that starts it.',
      });
    else if (showArgument(planned) === value.text)
      draft.tell({ ...at, verdict: 'same', note: 'Anneal sets the same.' });
    else draft.tell({ ...at, verdict: 'dropped', note: `Anneal sets ${showArgument(planned)}.` });
  }
  for (const [name, value] of Object.entries(ours))
    if (exported.every(({ variable }) => variable.name !== name))
      draft.tell({ what: `${name}=${showArgument(value)}`, verdict: 'added', note: 'Set for every training.' });
}

/** A file of the user's against the one that the plan writes; paths that the plan fills in on the host are left out. */
export function compareFile(
  draft: Draft,
  plan: Plan,
  given: unknown,
  { file, path, carried }: { file: string; path: string; carried: readonly string[] },
): void {
  const ours = plan.stages.train.files.find((one) => one.path === path)?.content;
  let same = 0;
  const walk = (theirs: unknown, planned: unknown, at: readonly string[]): void => {
    const what = at.join('.');
    if (carried.includes(what) || (isGroup(planned) && 'hole' in planned)) return;
    if (isGroup(theirs) && isGroup(planned)) {
      for (const key of new Set([...Object.keys(theirs), ...Object.keys(planned)]))
        walk(theirs[key], planned[key], [...at, key]);
    } else if (isDeepStrictEqual(theirs, planned)) same += 1;
    else if (theirs === undefined)
      draft.tell({
        file,
        what: `${what}: ${JSON.stringify(planned)}`,
        verdict: 'added',
        note: `Anneal's ${path} has it.`,
      });
    else
      draft.tell({
        file,
        what: `${what}: ${JSON.stringify(theirs)}`,
        verdict: 'not carried',
        note: planned === undefined ? NO_FIELD : `Anneal writes ${JSON.stringify(planned)}.`,
      });
  };
  walk(given, ours, []);
  draft.tell({ file, what: `${String(same)} values`, verdict: 'same', note: `Anneal's ${path} has the same.` });
}

function isGroup(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Numbers as numbers: `1.0` is `1`. */
function isSame(planned: readonly string[], given: readonly string[]): boolean {
  return (
    planned.length === given.length &&
    planned.every((text, index) => text === given[index] || (text !== '' && Number(text) === Number(given[index])))
  );
}

function flagsOf(command: CommandPlan | undefined): ReadonlyMap<string, readonly string[]> {
  const flags = new Map<string, string[]>();
  let open: string[] | undefined;
  for (const argument of command?.args ?? []) {
    const text = showArgument(argument);
    if (text.startsWith('--')) flags.set(text.includes('_') ? launcherName(text) : text, (open = []));
    else if (text.endsWith('.py')) open = undefined;
    else open?.push(text);
  }
  return flags;
}

/** The script's command line → fields of a spec; each flag is told of once. */
import { valueAt } from '../../../spec/json-schema.js';
import type { Draft } from './draft.js';
import {
  CARRIED_FLAGS,
  CARRIED_LAUNCHER_FLAGS,
  CARRIED_PARALLEL_FLAGS,
  CARRIED_SWITCHES,
  type Carried,
  DISTRIBUTED_OPTIMIZER,
  DROPPED_FLAGS,
  FUSED_SWITCHES,
  LORA_FLAGS,
  LORA_TARGETS_FLAG,
  REFUSED_FLAGS,
} from './flag-table.js';
import { type Command, type Flag, launcherName } from './launch.js';

const WARMUP = '--lr-warmup-fraction';
const WARMUP_ITERATIONS = '--lr-warmup-iters';

const AS_PUBLISHED = 'Anneal fuses the same where a spec says nothing.';

export interface Fusion {
  /** Rotary embeddings are also fused by a key of model.json. */
  readonly rotaryKey: boolean;
  /** What the model of this script is published with. */
  readonly published: readonly string[];
}

/** Carries what a spec has a field for; the flags that are left are compared with the plan later. */
export function carryFlags(
  draft: Draft,
  command: Command,
  { distTrain, fusion }: { distTrain: boolean; fusion: Fusion },
): readonly Flag[] {
  // With Dist-train the sizes are those of dist_config; of the flags the trainer only counts replicas, so they are compared.
  const launcher = lastOfEach(draft, command.launcher, launcherName);
  const trainer = lastOfEach(draft, command.trainer, (name) => name);
  const targets = trainer.get(LORA_TARGETS_FLAG);
  const table = {
    ...CARRIED_FLAGS,
    ...(distTrain ? {} : CARRIED_PARALLEL_FLAGS),
    ...(targets === undefined ? {} : LORA_FLAGS),
  };
  for (const [name, carried] of Object.entries(CARRIED_LAUNCHER_FLAGS))
    carryOne(draft, name, carried, launcher.get(name));
  const warmup = trainer.get(WARMUP);
  for (const [name, carried] of Object.entries(table))
    if (name !== WARMUP_ITERATIONS || warmup === undefined) carryOne(draft, name, carried, trainer.get(name));
  if (warmup !== undefined) carryWarmup(draft, warmup);
  if (targets !== undefined) carryTargets(draft, targets);
  const carriedSwitches = carrySwitches(draft, trainer, fusion);
  const rest: Flag[] = [];
  for (const [name, flag] of [...launcher, ...trainer]) {
    if (name in table || name in CARRIED_LAUNCHER_FLAGS || carriedSwitches.includes(name)) continue;
    if (name === WARMUP || name === LORA_TARGETS_FLAG) continue;
    const refused = REFUSED_FLAGS[name];
    const dropped = DROPPED_FLAGS[name];
    if (refused !== undefined) draft.refuse({ what: name, line: flag.line }, valueOf(flag) || true, ...refused);
    else if (dropped !== undefined)
      draft.tell({ line: flag.line, what: showFlag(flag), verdict: 'dropped', note: dropped });
    else rest.push(flag);
  }
  return rest;
}

/** The layers that get adapters, in a list. */
function carryTargets(draft: Draft, flag: Flag): void {
  const origin = { what: flag.name, line: flag.line };
  const unknown = flag.values.find((value) => value.unknown !== undefined)?.unknown;
  if (unknown === undefined)
    draft.carry(
      ['model', 'lora', 'targets'],
      flag.values.map(({ text }) => text),
      origin,
      showFlag(flag),
    );
  else draft.refuseUnknown(origin, valueOf(flag), unknown, 'Write the names themselves into the script.');
}

/** A share of the iterations, as a number of them, which is what a spec has. */
function carryWarmup(draft: Draft, flag: Flag): void {
  const origin = { what: WARMUP, line: flag.line };
  const warmup = Number(valueOf(flag)) * Number(valueAt(draft.document, ['training', 'iterations']));
  if (Number.isFinite(warmup))
    draft.carry(['training', 'warmupIterations'], Math.round(warmup), origin, showFlag(flag));
  else draft.refuse(origin, valueOf(flag), 'must be a number, and --train-iters too', 'Write both into the script.');
}

/** Flags without a value that a spec has a field for; returns which of them the script has. */
function carrySwitches(
  draft: Draft,
  flags: ReadonlyMap<string, Flag>,
  { rotaryKey, published }: Fusion,
): readonly string[] {
  const given = [...flags.keys()].filter((name) => name in CARRIED_SWITCHES || name in FUSED_SWITCHES);
  for (const name of given) {
    const carried = CARRIED_SWITCHES[name];
    if (carried !== undefined) draft.carry(carried.path, carried.value, { what: name, ...lineOf(flags.get(name)) });
  }
  const fused = given.filter((name) => name in FUSED_SWITCHES);
  const words = fused.map((name) => FUSED_SWITCHES[name] ?? '');
  if (rotaryKey && !words.includes('rotary')) words.push('rotary');
  const origin = { what: fused.join(' ') || 'no --use-fused-…', ...lineOf(flags.get(fused[0] ?? '')) };
  if (words.toSorted().join() === published.toSorted().join())
    for (const name of fused)
      draft.tell({ ...lineOf(flags.get(name)), what: name, verdict: 'same', note: AS_PUBLISHED });
  else draft.carry(['runtime', 'fusedOperators'], words, origin);
  if (!flags.has(DISTRIBUTED_OPTIMIZER))
    draft.carry(
      ['runtime', 'distributedOptimizer'],
      false,
      { what: DISTRIBUTED_OPTIMIZER },
      `${DISTRIBUTED_OPTIMIZER} is left out`,
    );
  return given;
}

function lineOf(flag: Flag | undefined): { readonly line?: number } {
  return flag === undefined ? {} : { line: flag.line };
}

/** As typed: the flag with its values. */
export function showFlag({ name, values }: Flag): string {
  return [name, ...values.map(({ text }) => text)].join(' ');
}

function valueOf({ values }: Flag): string {
  return values.map(({ text }) => text).join(' ');
}

/** argparse takes the last of a flag that is given twice. */
function lastOfEach(draft: Draft, flags: readonly Flag[], key: (name: string) => string): ReadonlyMap<string, Flag> {
  const last = new Map<string, Flag>();
  for (const flag of flags) {
    const before = last.get(key(flag.name));
    if (before !== undefined)
      draft.tell({
        line: before.line,
        what: showFlag(before),
        verdict: 'dropped',
        note: `Given again on line ${String(flag.line)}, and the last one counts.`,
      });
    last.set(key(flag.name), flag);
  }
  return last;
}

function carryOne(draft: Draft, name: string, { path, kind, megatronDefault }: Carried, flag: Flag | undefined): void {
  if (flag === undefined) {
    draft.expect(path, { what: name });
    if (megatronDefault !== undefined)
      draft.carry(
        path,
        megatronDefault,
        { what: name },
        `${name} is left out: Megatron takes ${String(megatronDefault)}`,
      );
    return;
  }
  const origin = { what: name, line: flag.line };
  const unknown = flag.values.find((value) => value.unknown !== undefined)?.unknown;
  if (unknown !== undefined) {
    const remedy =
      name === '--nnodes'
        ? 'Give the file that lists your hosts, one address a line, with --hostfile.'
        : `Write the value itself into the script${unknown.name === undefined ? '' : `, as in ${unknown.name}=8`}.`;
    draft.refuseUnknown(origin, valueOf(flag), unknown, remedy);
    return;
  }
  const text = valueOf(flag);
  const value = kind === 'number' && /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text) ? Number(text) : text;
  draft.carry(path, value, origin, showFlag(flag));
}

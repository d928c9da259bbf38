/** The training's command as options: torchrun's, the entry script, and what is handed to it. */
import type { Launch } from './script.js';
import type { Field } from './shell-values.js';

export interface Flag {
  /** As the script writes it, e.g. `--micro-batch-size`. */
  readonly name: string;
  readonly line: number;
  readonly values: readonly Field[];
  /** Everything that it was made of, for the lines that set it. */
  readonly fields: readonly Field[];
}

export interface Command {
  readonly line: number;
  readonly entry: Field | undefined;
  readonly launcher: readonly Flag[];
  readonly trainer: readonly Flag[];
  /** Arguments that are neither a flag nor the value of one. */
  readonly stray: readonly Field[];
}

/** Flags of the published scripts that take no value: what stands behind one is none, and may hold flags of its own. */
const TRAINER_SWITCH =
  /^--(no-|use-|overlap-|exit-on-|exit-signal-|swiglu$|bf16$|fp16$|variable-seq-lengths$|dist-train$|finetune$|unaligned-linear$|sequence-parallel$|trust-remote-code$|encoder-dp-balance$|calculate-per-)/;

/** torchrun's options that take no value. */
const SWITCHES = ['--standalone', '--no-python', '--run-path', '--use-env'];

export function readCommand({ line, fields }: Launch): Command {
  const launcher: Flag[] = [];
  let at = 0;
  for (; at < fields.length; at += 1) {
    const field = fields[at] as Field;
    if (field.unknown !== undefined || !field.text.startsWith('-')) break;
    const { name, value } = nameAndValue(field);
    const next = fields[at + 1];
    const takesNext = value === undefined && !SWITCHES.includes(launcherName(name)) && next !== undefined;
    if (takesNext) at += 1;
    launcher.push(flagOf(name, field, takesNext ? [next] : value === undefined ? [] : [value]));
  }
  const entry = fields[at];
  const stray: Field[] = [];
  const trainer: Flag[] = [];
  for (const field of fields.slice(at + 1)) {
    if (field.unknown === undefined && /^--?[A-Za-z]/.test(field.text)) {
      const { name, value } = nameAndValue(field);
      trainer.push(flagOf(name, field, value === undefined ? [] : [value]));
    } else {
      const last = trainer.at(-1);
      // What is unknown behind a value is no second one.
      const takesIt =
        last !== undefined &&
        !TRAINER_SWITCH.test(last.name) &&
        (field.unknown === undefined || last.values.length === 0);
      if (takesIt) trainer.splice(-1, 1, { ...last, values: [...last.values, field], fields: [...last.fields, field] });
      else stray.push(field);
    }
  }
  return { line, entry, launcher, trainer, stray };
}

/** torchrun takes both spellings: `--nproc_per_node` and `--nproc-per-node`. */
export function launcherName(name: string): string {
  return name.replaceAll('_', '-');
}

function flagOf(name: string, field: Field, values: readonly Field[]): Flag {
  return { name, line: field.line, values, fields: [field, ...values] };
}

function nameAndValue(field: Field): { readonly name: string; readonly value?: Field } {
  const at = field.text.indexOf('=');
  if (at < 0) return { name: field.text };
  return { name: field.text.slice(0, at), value: { ...field, text: field.text.slice(at + 1) } };
}

/** Reads a spec file and checks it: first by the schema, then by composing its plan. Every command that takes a FILE does this. */
import { readFile } from 'node:fs/promises';
import type { Plan } from '../plan/plan.js';
import type { RunSpec } from '../spec/run.js';
import type { Refusal } from '../spec/refusal.js';
import { CommandError } from './exit-codes.js';

export interface PlannedSpec {
  readonly spec: RunSpec;
  readonly plan: Plan;
}

/** The spec and its plan, or everything that is wrong with it. Throws when the file cannot be read. */
export async function planFile(fileName: string): Promise<PlannedSpec | { readonly refusals: readonly Refusal[] }> {
  const [{ parseSpec }, { composePlan }] = await Promise.all([
    import('../spec/parse.js'),
    import('../backends/compose-plan.js'),
  ]);
  const parsed = parseSpec(await read(fileName), { fileName });
  if ('refusals' in parsed) return parsed;
  const composed = composePlan(parsed.spec);
  return 'refusals' in composed
    ? { refusals: parsed.locate(composed.refusals) }
    : { spec: parsed.spec, plan: composed.plan };
}

/** As `planFile`, but a refused spec ends the command with its refusals as the message. */
export async function requirePlan(fileName: string): Promise<PlannedSpec> {
  const planned = await planFile(fileName);
  if (!('refusals' in planned)) return planned;
  const { showRefusals } = await import('../spec/refusal.js');
  throw new CommandError('refused', showRefusals(fileName, planned.refusals));
}

async function read(fileName: string): Promise<string> {
  try {
    return await readFile(fileName, 'utf8');
  } catch (error) {
    throw new CommandError(
      'notFound',
      `The spec ${fileName} cannot be read: ${error instanceof Error ? error.message : String(error)}.`,
      { cause: error },
    );
  }
}

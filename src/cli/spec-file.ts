/** Reads a spec file and checks it: first by the schema, then by composing its plan. Every command that takes a FILE does this. */
import { readFile } from 'node:fs/promises';
import type { Plan } from '../plan/plan.js';
import type { ParsedSpec } from '../spec/parse.js';
import type { RunSpec } from '../spec/run.js';
import type { Refusal } from '../spec/refusal.js';
import { CommandError } from './exit-codes.js';

export interface PlannedSpec {
  readonly spec: RunSpec;
  readonly plan: Plan;
}

/** The spec and its plan, or everything that is wrong with it. Throws when the file cannot be read. */
export async function planFile(fileName: string): Promise<PlannedSpec | { readonly refusals: readonly Refusal[] }> {
  const [parsed, { composePlan }] = await Promise.all([parseFile(fileName), import('../backends/compose-plan.js')]);
  if ('refusals' in parsed) return parsed;
  const composed = composePlan(parsed.spec);
  return 'refusals' in composed
    ? { refusals: parsed.locate(composed.refusals) }
    : { spec: parsed.spec, plan: composed.plan };
}

/** The spec as its schema lets it pass; what it plans may still be refused. */
export async function parseFile(fileName: string): Promise<ParsedSpec> {
  const { parseSpec } = await import('../spec/parse.js');
  return parseSpec(await read(fileName), { fileName });
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

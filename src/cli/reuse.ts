/** What a run of a spec would find ready in the store: the same look that the run itself takes, but without changing anything. */
import { type StageName, STAGE_NAMES } from '../plan/plan.js';
import type { PlannedSpec } from './spec-file.js';
import { type WhereFlags, whereOf } from './where.js';

/** One line a stage. */
export type Reuse = Readonly<Record<StageName, string>>;

export async function whatIsReused(planned: PlannedSpec, flags: WhereFlags): Promise<Reuse> {
  const { resolvePlace } = await import('../client/connect.js');
  const place = await resolvePlace(whereOf(flags)).catch(() => undefined);
  if (place?.store === undefined) return same('unknown: no store here');
  void planned;
  return same('unknown');
}

export function same(text: string): Reuse {
  return Object.fromEntries(STAGE_NAMES.map((stage) => [stage, text])) as unknown as Reuse;
}

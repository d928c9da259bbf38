/** `anneal models …`: what is promoted, read from the store; promotions by hand, written by the control worker. */
import type { ModelListing, Promotion } from '../../client/index.js';
import { utcTime } from '../../plan/numbers.js';
import { textTable } from '../../report/table.js';
import { EXIT_CODES } from '../exit-codes.js';
import { note, print, printJson } from '../output.js';
import { openStore } from '../store.js';
import { withAnneal, type WhereFlags } from '../where.js';

export interface ModelFlags extends WhereFlags {
  readonly json?: boolean;
}

export async function list(flags: ModelFlags): Promise<number> {
  const store = await openStore(flags);
  const { listModels } = await import('../../client/models.js');
  const listed = await listModels(store);
  if (flags.json) printJson(listed);
  else if (listed.length === 0)
    note(`No model was promoted in ${store.url} yet. A run that passes its gate promotes its own: anneal submit SPEC`);
  else print(showModels(listed));
  return EXIT_CODES.ok.code;
}

export async function show(model: string, flags: ModelFlags): Promise<number> {
  const store = await openStore(flags);
  const { promotionsOf } = await import('../../client/models.js');
  const promotions = await promotionsOf(store, model);
  if (flags.json) printJson(promotions);
  else print(showPromotions(model, promotions));
  return EXIT_CODES.ok.code;
}

export async function promote(runId: string, flags: ModelFlags & { readonly why: string }): Promise<number> {
  return withAnneal(flags, async ({ models }) => tell(await models.promote(runId, flags.why), flags));
}

export async function rollback(
  model: string,
  flags: ModelFlags & { readonly why: string; readonly to?: number },
): Promise<number> {
  const to = flags.to === undefined ? {} : { to: flags.to };
  return withAnneal(flags, async ({ models }) => tell(await models.rollback(model, flags.why, to), flags));
}

function tell(
  { model, promotion }: { readonly model: string; readonly promotion: Promotion },
  { json }: ModelFlags,
): number {
  if (json) printJson({ model, promotion });
  else
    print(
      `${model} is now the model of run ${promotion.runId}, as promotion ${String(promotion.number)}: ${promotion.published.prefix}`,
    );
  return EXIT_CODES.ok.code;
}

function showModels(listed: readonly ModelListing[]): string {
  const rows = listed.map(({ name, current }) => [name, ...promotionRow(current)]);
  return textTable(['MODEL', ...HEADER], rows);
}

export function showPromotions(model: string, promotions: readonly Promotion[]): string {
  const current = promotions.at(-1);
  return [
    `${model}: promotion ${String(current?.number)} is current, in ${current?.published.prefix ?? ''}`,
    '',
    textTable(HEADER, promotions.toReversed().map(promotionRow)),
  ].join('\n');
}

const HEADER = ['PROMOTION', 'RUN', 'ACCURACY', 'DATA OF (UTC)', 'WEIGHTS', 'HOW'];

function promotionRow({ number, runId, accuracy, data, weightsDigest, base, chosen }: Promotion): string[] {
  return [
    String(number),
    runId,
    accuracy.toFixed(4),
    utcTime(data.at),
    weightsDigest.slice(0, 12),
    howOf(base, chosen),
  ];
}

function howOf(base: Promotion['base'], chosen: Promotion['chosen']): string {
  if (chosen === undefined)
    return base === undefined ? 'by its run' : `retrained, compared with ${base === 0 ? 'none' : String(base)}`;
  return chosen.bringsBack === undefined
    ? `chosen: ${chosen.why}`
    : `back to ${String(chosen.bringsBack)}: ${chosen.why}`;
}

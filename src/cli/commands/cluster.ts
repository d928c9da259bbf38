/** `anneal cluster init`: makes a Temporal server ready for runs. */
import type { ClusterSetup } from '../../client/index.js';
import { textTable } from '../../report/table.js';
import { EXIT_CODES } from '../exit-codes.js';
import { print, printJson } from '../output.js';
import { withAnneal, type WhereFlags } from '../where.js';

export interface InitFlags extends WhereFlags {
  readonly retentionDays?: number;
  readonly json?: boolean;
}

export async function init({ retentionDays, json = false, ...where }: InitFlags): Promise<number> {
  return withAnneal(where, async (anneal) => {
    const setup = await anneal.setUp(retentionDays === undefined ? {} : { retentionDays });
    const { address } = anneal.place;
    if (json) printJson({ address, ...setup });
    else print(showSetup(address, setup));
    return EXIT_CODES.ok.code;
  });
}

export function showSetup(
  address: string,
  { namespace, namespaceWas, retentionDays, retentionDaysBefore, searchAttributes }: ClusterSetup,
): string {
  const before = retentionDaysBefore === undefined ? '' : `, ${days(retentionDaysBefore)} before`;
  return [
    `Namespace "${namespace}" at ${address}: ${namespaceWas}; runs that have ended are kept for ${days(retentionDays)}${before}.`,
    textTable(
      ['SEARCH ATTRIBUTE', 'TYPE', ''],
      searchAttributes.map(({ name, type, was }) => [name, type, was]),
    ),
  ].join('\n');
}

function days(count: number): string {
  return count === 1 ? '1 day' : `${String(Number(count.toFixed(2)))} days`;
}

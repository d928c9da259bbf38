/** `anneal runs`: the runs of the cluster, newest first. */
import type { RunListing } from '../../client/index.js';
import { EXIT_CODES } from '../exit-codes.js';
import { note, print, printJson } from '../output.js';
import { textTable } from '../../report/table.js';
import { withAnneal, type WhereFlags } from '../where.js';

export async function runs(flags: WhereFlags & { readonly json?: boolean; readonly limit: number }): Promise<number> {
  return withAnneal(flags, async (anneal) => {
    const listed = await anneal.runs.list({ limit: flags.limit });
    if (flags.json) printJson(listed);
    else if (listed.length === 0)
      note(`No runs in cluster "${anneal.place.cluster}" yet. Start one: anneal submit examples/laptop.yaml`);
    else print(showRuns(listed));
    return EXIT_CODES.ok.code;
  });
}

export function showRuns(listed: readonly RunListing[]): string {
  const rows = listed.map(({ runId, status, stage, iteration, hosts, startedAt, endedAt }) => [
    runId,
    status,
    stage === '' ? '-' : stage,
    iteration === null ? '-' : String(iteration),
    startedAt.slice(0, 19).replace('T', ' '),
    endedAt === null ? '-' : `${String(Math.round((Date.parse(endedAt) - Date.parse(startedAt)) / 1000))} s`,
    hosts.length === 0 ? '-' : hosts.join(', '),
  ]);
  return textTable(['RUN', 'STATUS', 'STAGE', 'ITERATION', 'STARTED (UTC)', 'TOOK', 'HOSTS'], rows);
}

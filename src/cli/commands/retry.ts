/** `anneal retry RUN`: a new run that goes on where one has ended, with its spec or a changed one. */
import { EXIT_CODES } from '../exit-codes.js';
import { print, printJson } from '../output.js';
import { requirePlan } from '../spec-file.js';
import { pageOf } from '../summary.js';
import { withAnneal } from '../where.js';
import type { SubmitFlags } from './submit.js';
import { follow } from './watch.js';

export interface RetryFlags extends SubmitFlags {
  readonly spec?: string;
}

export async function retry(runId: string, flags: RetryFlags): Promise<number> {
  const changed = flags.spec === undefined ? {} : { spec: (await requirePlan(flags.spec)).spec };
  const key = flags.key === undefined ? {} : { key: flags.key };
  return withAnneal(flags, async (anneal) => {
    const run = await anneal.runs.retry(runId, { ...changed, ...key });
    const page = pageOf(run, anneal.place);
    if (flags.json)
      printJson({
        runId: run.runId,
        workflowId: run.workflowId,
        retries: runId,
        existed: run.existed,
        page: page ?? null,
      });
    else {
      print(
        run.existed ? `${run.runId} is there already; it goes on.` : `${run.runId} is started; it retries ${runId}.`,
      );
      if (page !== undefined) print(`  page:   ${page}`);
      if (!flags.watch) print(`  follow: anneal watch ${run.runId}`);
    }
    return flags.watch ? follow(run, { json: flags.json ?? false, place: anneal.place }) : EXIT_CODES.ok.code;
  });
}

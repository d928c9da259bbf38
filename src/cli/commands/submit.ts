/** `anneal submit FILE`: checks the spec, starts its run, and follows it if asked. */
import { EXIT_CODES } from '../exit-codes.js';
import { print, printJson } from '../output.js';
import { requirePlan } from '../spec-file.js';
import { pageOf } from '../summary.js';
import { withAnneal, type WhereFlags } from '../where.js';
import { follow } from './watch.js';

export interface SubmitFlags extends WhereFlags {
  readonly key?: string;
  readonly watch?: boolean;
  readonly json?: boolean;
}

export async function submit(fileName: string, flags: SubmitFlags): Promise<number> {
  const { spec } = await requirePlan(fileName);
  return withAnneal(flags, async (anneal) => {
    const run = await anneal.runs.start(spec, flags.key === undefined ? {} : { key: flags.key });
    const page = pageOf(run, anneal.place);
    if (flags.json)
      printJson({ runId: run.runId, workflowId: run.workflowId, existed: run.existed, page: page ?? null });
    else {
      print(run.existed ? `${run.runId} is there already; it goes on.` : `${run.runId} is started.`);
      if (page !== undefined) print(`  page:   ${page}`);
      if (!flags.watch) print(`  follow: anneal watch ${run.runId}`);
    }
    return flags.watch ? follow(run, { json: flags.json ?? false, place: anneal.place }) : EXIT_CODES.ok.code;
  });
}

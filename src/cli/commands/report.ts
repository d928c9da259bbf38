/** `anneal report RUN`: what a run did, as text, as Markdown for a ticket, or as JSON. */
import { jsonReport, markdownReport, textReport } from '../../report/run-report.js';
import { CommandError, EXIT_CODES } from '../exit-codes.js';
import { print, printJson } from '../output.js';
import { factsOf } from '../summary.js';
import { withAnneal, type WhereFlags } from '../where.js';

export interface ReportFlags extends WhereFlags {
  readonly markdown?: boolean;
  readonly json?: boolean;
}

export async function report(runId: string, flags: ReportFlags): Promise<number> {
  return withAnneal(flags, async (anneal) => {
    const facts = await factsOf(anneal.runs.get(runId), anneal.place);
    if (facts === undefined)
      throw new CommandError(
        'noServer',
        `No control worker is there to tell of run "${runId}". Start one: anneal worker.`,
      );
    if (flags.json) printJson(jsonReport(facts));
    else print(flags.markdown ? markdownReport(facts) : textReport(facts));
    return EXIT_CODES.ok.code;
  });
}

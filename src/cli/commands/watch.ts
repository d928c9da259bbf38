/** `anneal watch RUN`: follows a run to its end, as lines, with a live block on a terminal, or as JSON lines. */
import type { Place } from '../../client/connect.js';
import type { RunEvent, RunHandle } from '../../client/index.js';
import { textReport } from '../../report/run-report.js';
import { EXIT_CODES } from '../exit-codes.js';
import { print, printJsonLine } from '../output.js';
import { LiveBlock } from '../live-block.js';
import { RunScreen } from '../run-screen.js';
import { showEvent, showProgress } from '../show-event.js';
import { factsOf } from '../summary.js';
import { withAnneal, type WhereFlags } from '../where.js';

export async function watch(runId: string, flags: WhereFlags & { readonly json?: boolean }): Promise<number> {
  return withAnneal(flags, (anneal) =>
    follow(anneal.runs.get(runId), { json: flags.json ?? false, place: anneal.place }),
  );
}

export interface FollowOptions {
  readonly json?: boolean;
  /** Where the run's things lie, for the report at its end. */
  readonly place: Pick<Place, 'store' | 'uiUrl' | 'namespace'>;
  readonly signal?: AbortSignal;
}

/** Without a terminal: how many iterations go by between two lines, as a share of all. */
const PLAIN_STEP = 0.1;

/** Of a terminal that does not say how wide it is. */
const DEFAULT_COLUMNS = 80;

/** Prints a run's events until its end, and says by the exit code how it ended. */
export async function follow(run: RunHandle, { json = false, place, signal }: FollowOptions): Promise<number> {
  const live = new LiveBlock(process.stdout);
  const screen = new RunScreen();
  const printed = new Map<string, number>();
  let code: number = EXIT_CODES.failed.code;
  for await (const event of run.watch(signal === undefined ? {} : { signal })) {
    if (event.type === 'outcome') code = exitOf(event);
    if (json) {
      printJsonLine(event);
      continue;
    }
    screen.take(event);
    if (event.type !== 'progress') live.above(showEvent(event));
    if (live.isLive) live.show(screen.lines(process.stdout.columns || DEFAULT_COLUMNS));
    else if (event.type === 'progress' && event.total !== undefined && event.done !== undefined) {
      const share = Math.floor(event.done / event.total / PLAIN_STEP);
      // A roll-back makes the share fall; that is worth a line too.
      if (share !== printed.get(event.stage)) print(showProgress(event).join('\n'));
      printed.set(event.stage, share);
    }
  }
  live.clear();
  const facts = json ? undefined : await factsOf(run, place);
  if (facts !== undefined) print(`\n${textReport(facts)}\n`);
  return code;
}

function exitOf({ outcome }: Extract<RunEvent, { type: 'outcome' }>): number {
  if (outcome === 'promoted') return EXIT_CODES.ok.code;
  return outcome === 'rejected' || outcome === 'superseded' ? EXIT_CODES.rejected.code : EXIT_CODES.failed.code;
}

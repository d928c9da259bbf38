/** `anneal stop|pause|resume RUN`: asks, and says what follows. */
import type { RunHandle } from '../../client/index.js';
import { EXIT_CODES } from '../exit-codes.js';
import { print, printJson } from '../output.js';
import { withAnneal, type WhereFlags } from '../where.js';

export interface RequestFlags extends WhereFlags {
  readonly why: string;
  readonly json?: boolean;
}

const SAVES = 'if it trains, its trainers save, the save is committed and the hosts go back';

export function stop(runId: string, flags: RequestFlags): Promise<number> {
  return ask(runId, flags, 'stop', `${runId} is asked to stop: ${SAVES}.`);
}

export function pause(runId: string, flags: RequestFlags): Promise<number> {
  const until = `then it waits for "anneal resume ${runId}"`;
  return ask(runId, flags, 'pause', `${runId} is asked to pause: ${SAVES}, else its stage ends first; ${until}.`);
}

export function resume(runId: string, flags: RequestFlags): Promise<number> {
  return ask(runId, flags, 'resume', `${runId} goes on.`);
}

async function ask(
  runId: string,
  { why, json, ...flags }: RequestFlags,
  request: keyof Pick<RunHandle, 'stop' | 'pause' | 'resume'>,
  then: string,
): Promise<number> {
  return withAnneal(flags, async (anneal) => {
    const asked = await anneal.runs.get(runId)[request]({ why });
    if (json) printJson(asked);
    else print(`${then}\n  follow: anneal watch ${runId}`);
    return EXIT_CODES.ok.code;
  });
}

/** The run's page in the Temporal UI. The UI renders tables without padding, so what stands in columns stands in a code block. */
import type { RunState, StageState } from '../contract/messages.js';
import { duration } from '../plan/numbers.js';
import { sayPaused, sayStopped } from '../plan/run-requests.js';
import { gangSection } from './gang-page.js';
import { bar, block, clock, harmless, names } from './page-text.js';

const MARKS: Readonly<Record<StageState['status'], string>> = {
  waiting: '·',
  running: '▶',
  done: '✔',
  reused: '↺',
  failed: '✘',
  stopped: '■',
};

/** `now`: a page stands still between two moments at which workflow code runs, so it says when it was written. */
export function runPage(state: RunState, now: number): string {
  const { runId, outcome, stages, gang, paused, stopped, retry } = state;
  const isRunning = outcome === 'running';
  const hint =
    '**Cancel** and *anneal stop* end the run, *anneal pause* lets it wait: trainers save first. *Pause* of an activity is ignored.';
  const requests = [
    ...(retry === undefined ? [] : [`retries ${retry.of}${retry.note === '' ? '' : `: ${retry.note}`}`]),
    ...(paused === undefined ? [] : [sayPaused(paused)]),
    ...(stopped === undefined ? [] : [sayStopped(stopped)]),
  ];
  return [
    `### ${!isRunning ? `Ended: ${outcome}` : stopped !== undefined ? 'Stopping' : paused !== undefined ? 'Paused' : 'Running'}`,
    block([
      harmless(runId, 100),
      ...requests.map((request) => harmless(request)),
      ...stages.map((stage) => stageLine(stage, state)),
    ]),
    ...(gang === undefined ? [] : gangSection(gang)),
    `Written at ${clock(now)}, ${isRunning ? 'and again at the next step or save; what happens meanwhile is under *Pending Activities*. ' : 'at its end. '}${isRunning ? `Times are UTC. ${hint}` : 'Times are UTC.'}`,
  ].join('\n\n');
}

function stageLine(stage: StageState, { gang }: RunState): string {
  const { status, startedAt, endedAt, hosts, note } = stage;
  const isOver = status === 'done' || status === 'reused';
  const share = isOver
    ? 1
    : stage.stage === 'train' && gang !== undefined
      ? gang.committedIteration / gang.iterations
      : 0;
  const time =
    startedAt === undefined
      ? ''
      : endedAt === undefined
        ? `since ${clock(startedAt)}`
        : duration((endedAt - startedAt) / 1000);
  const facts = [names(hosts), harmless(note)].filter((text) => text !== '').join(' · ');
  return `${MARKS[status]} ${stage.stage.padEnd(9)}${bar(share, 1)}  ${status.padEnd(8)}${time.padEnd(15)} ${facts}`.trimEnd();
}

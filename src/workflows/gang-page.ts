/** The gang as its own page and the run's page show it: where the training is, how fast, and what happened on the way. */
import type { GangState, Handover, Incident } from '../contract/gang.js';
import { duration, restoredFrom } from '../plan/numbers.js';
import { bar, block, clock, harmless, names } from './page-text.js';

export function gangPage(gang: GangState): string {
  return [`### Generation ${String(gang.generation)}: ${gang.phase}`, ...gangSection(gang)].join('\n\n');
}

/** Without a heading. */
export function gangSection(gang: GangState): readonly string[] {
  const { generation, hosts, phase, note, warnings, committedIteration, iterations, incidents, handovers } = gang;
  const where = [`generation ${String(generation)}`, phase, names(hosts)].filter(Boolean).join(' · ');
  const committed = `${bar(committedIteration, iterations)}  ${String(committedIteration)} of ${String(iterations)} iterations committed`;
  const audit = [...incidents.map(incidentLines), ...handovers.map(handoverLines)]
    .toSorted((a, b) => a.at - b.at)
    .flatMap(({ lines }) => lines);
  return [
    block([where, committed, ...paceLines(gang), ...(note === '' ? [] : [`waits: ${harmless(note)}`])]),
    ...(warnings.length === 0
      ? []
      : [
          '**Hosts** (what the look at them found before the launch)',
          block(warnings.map((one) => harmless(one, 300))),
        ]),
    ...(audit.length === 0 ? [] : ['**What happened** (UTC)', block(audit)]),
  ];
}

/** Seconds that the rest takes at the pace of the last save. */
function etaSeconds({ pace, iterations }: Pick<GangState, 'pace' | 'iterations'>): number | undefined {
  if (pace?.secondsPerIteration === undefined || pace.iteration >= iterations) return undefined;
  return (iterations - pace.iteration) * pace.secondsPerIteration;
}

function paceLines(gang: GangState): readonly string[] {
  const { pace } = gang;
  if (pace === null) return [];
  const left = etaSeconds(gang);
  return [
    [
      `iteration ${String(pace.iteration)}`,
      pace.loss === undefined ? '' : `loss ${pace.loss.toPrecision(4)}`,
      pace.secondsPerIteration === undefined ? '' : `${pace.secondsPerIteration.toPrecision(3)} s an iteration`,
      // A page stands still until the next save, so the moment of the end says more than the time that was left.
      left === undefined ? '' : `${duration(left)} left, done about ${clock(pace.at + left * 1000)}`,
    ]
      .filter((part) => part !== '')
      .join(' · '),
  ];
}

interface Audit {
  readonly at: number;
  readonly lines: readonly string[];
}

/** When, who, what; then what it cost and what was decided. */
function incidentLines(incident: Incident): Audit {
  const { at, generation, host, failure, message, decision, iterationsLost } = incident;
  const { secondsToDetect, secondsToDecide, secondsToNewIteration, restored, evidence } = incident;
  const cost = [
    `${String(iterationsLost)} iterations lost`,
    ...(secondsToDetect === undefined ? [] : [`found after ${duration(secondsToDetect)}`]),
    ...(secondsToDecide === undefined ? [] : [`decided in ${duration(secondsToDecide)}`]),
    ...(restored === undefined ? [] : [restoredFrom(restored)]),
    ...(secondsToNewIteration === undefined ? [] : [`new iterations after ${duration(secondsToNewIteration)}`]),
    ...(evidence === undefined ? [] : [`evidence in ${evidence}`]),
  ].join(', ');
  const head = `${clock(at)}  g${String(generation)}  ${harmless(host, 64)}: ${harmless(failure, 40)}`;
  return { at, lines: [`${head}: ${harmless(message)}`, `          → ${harmless(decision)} ${cost}`] };
}

function handoverLines({ at, generation, who, what, isHeard }: Handover): Audit {
  const then = isHeard ? 'its successor goes on, nothing lost' : 'its work is asked for again';
  return { at, lines: [`${clock(at)}  g${String(generation)}  ${harmless(who, 64)}: ${what}; ${then}`] };
}

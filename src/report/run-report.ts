/** What a run did, for people: outcome, accuracy, time per stage, the loss, incidents, where everything lies. */
import type { RunMetrics } from '../client/metrics.js';
import type { FineTuneResult, Incident, RunState, StageState } from '../contract/messages.js';
import { incidentsPrefix } from '../contract/store-keys.js';
import { pathInStore } from '../storage/store-settings.js';
import { duration, percent } from '../plan/numbers.js';
import { markdownTable, type Row, textTable } from './table.js';
import { lossCurve, summariseTraining, trainingSentences, type TrainingSummary } from './training.js';

export interface RunFacts {
  readonly state: RunState;
  /** Of a run that ended well. */
  readonly result?: FineTuneResult;
  readonly incidents?: readonly Incident[];
  /** What its training has measured. */
  readonly metrics?: RunMetrics;
  /** Why that is not known, a sentence. */
  readonly metricsTrouble?: string;
  /** Why it ended otherwise, a sentence. */
  readonly message?: string;
  /** The store's folder or address, to say where things lie. */
  readonly store?: string;
  /** The run's page in the Temporal UI. */
  readonly page?: string;
}

/** For a terminal. */
export function textReport(facts: RunFacts): string {
  const named = lines(facts);
  const width = Math.max(...named.map(([name]) => name.length));
  return [
    `${facts.state.runId}: ${facts.state.outcome}`,
    '',
    textTable(STAGE_HEADER, stageRows(facts.state.stages)),
    '',
    ...named.map(([name, value]) => `${name.padEnd(width)}  ${value}`),
    ...curveOf(facts, (curve) => ['', 'Loss:', curve]),
    ...section(facts.incidents, (rows) => ['', 'Incidents:', textTable(INCIDENT_HEADER, rows)]),
  ].join('\n');
}

/** For a page or a ticket. */
export function markdownReport(facts: RunFacts): string {
  return [
    `# Run ${facts.state.runId}: ${facts.state.outcome}`,
    '',
    markdownTable(STAGE_HEADER, stageRows(facts.state.stages)),
    '',
    ...lines(facts).map(([name, value]) => `- **${name}**: ${value}`),
    ...curveOf(facts, (curve) => ['', '## Loss', '', '```', curve, '```']),
    ...section(facts.incidents, (rows) => ['', '## Incidents', '', markdownTable(INCIDENT_HEADER, rows)]),
    '',
  ].join('\n');
}

/** For a program: the iterations themselves are in the record, which "anneal metrics" prints. */
export function jsonReport({ metrics, ...facts }: RunFacts): object {
  const training: TrainingSummary | undefined = metrics && summariseTraining(metrics.rows);
  return { ...facts, ...(training === undefined ? {} : { training }) };
}

/** Narrow enough for a page or a ticket, too. */
const CURVE = { width: 78, height: 5 };

function curveOf({ metrics }: RunFacts, show: (curve: string) => readonly string[]): readonly string[] {
  const curve = metrics === undefined ? '' : lossCurve(metrics.rows, CURVE);
  return curve === '' ? [] : show(curve);
}

const STAGE_HEADER: Row = ['Stage', 'Status', 'Time', 'Hosts', 'Note'];
const INCIDENT_HEADER: Row = [
  ...['Generation', 'Host', 'Failure', 'Decision', 'Iterations lost'],
  ...['Found after', 'Decided in', 'New iterations after'],
];

function stageRows(stages: readonly StageState[]): readonly Row[] {
  return stages.map(({ stage, status, startedAt, endedAt, hosts, note }) => [
    stage,
    status,
    startedAt === undefined || endedAt === undefined ? '-' : duration((endedAt - startedAt) / 1000),
    hosts.length === 0 ? '-' : hosts.join(', '),
    note === '' ? '-' : note,
  ]);
}

function section(
  incidents: readonly Incident[] | undefined,
  show: (rows: readonly Row[]) => readonly string[],
): readonly string[] {
  if (incidents === undefined || incidents.length === 0) return [];
  return show(
    incidents.map(({ generation, host, failure, decision, iterationsLost, ...times }) => [
      ...[String(generation), host, failure, decision, String(iterationsLost)],
      ...[times.secondsToDetect, times.secondsToDecide, times.secondsToNewIteration].map((seconds) =>
        seconds === undefined ? '-' : duration(seconds),
      ),
    ]),
  );
}

function lines({
  state,
  result,
  metrics,
  metricsTrouble,
  message,
  store,
  page,
  incidents,
}: RunFacts): readonly (readonly [string, string])[] {
  const at = (path: string): string => (store === undefined ? path : pathInStore(store, path));
  const whole = wholeTime(state.stages);
  const found: (readonly [string, string])[] = [];
  if (message !== undefined) found.push(['why', message]);
  const { retry } = state;
  if (retry !== undefined) found.push(['retries', [retry.of, retry.note].filter((part) => part !== '').join(': ')]);
  if (whole !== undefined) found.push(['time', duration(whole)]);
  if (result !== undefined) {
    found.push([
      'accuracy',
      `${percent(result.baseAccuracy)} before, ${percent(result.accuracy)} after (held-out images)`,
    ]);
    found.push(['weights', result.weightsDigest]);
    found.push(['model', at(result.published.prefix)]);
    if (result.promotion !== undefined) found.push(['promoted as', `number ${String(result.promotion)}`]);
  }
  if (metrics !== undefined) found.push(...trainingLines(metrics, at));
  if (metricsTrouble !== undefined) found.push(['training', `not known: ${metricsTrouble}`]);
  found.push(['logs', at(`runs/${state.runId}/logs/`)]);
  // One line for all: the folder has one for each generation.
  if (incidents?.some(({ evidence }) => evidence !== undefined))
    found.push(['evidence', at(incidentsPrefix(state.runId))]);
  if (page !== undefined) found.push(['page', page]);
  return found;
}

function trainingLines(
  { rows, key, trainedBy }: RunMetrics,
  at: (path: string) => string,
): readonly (readonly [string, string])[] {
  if (trainedBy !== undefined) return [['training', `that of run ${trainedBy}: anneal metrics ${trainedBy}`]];
  const summary = summariseTraining(rows);
  if (summary === undefined) return [];
  const { training, rolledBack, missing } = trainingSentences(summary);
  return [
    ['training', training],
    ...(rolledBack === undefined ? [] : [['rolled back', rolledBack] as const]),
    ...(missing === undefined ? [] : [['not recorded', missing] as const]),
    ...(key === undefined ? [] : [['loss record', at(key)] as const]),
  ];
}

function wholeTime(stages: readonly StageState[]): number | undefined {
  const starts = stages.flatMap(({ startedAt }) => startedAt ?? []);
  const ends = stages.flatMap(({ endedAt }) => endedAt ?? []);
  return starts.length === 0 || ends.length === 0 ? undefined : (Math.max(...ends) - Math.min(...starts)) / 1000;
}

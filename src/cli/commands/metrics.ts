/** `anneal metrics RUN`: the loss record of a run as curve and table, as JSON lines, or as an event file for TensorBoard. */
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Incident } from '../../contract/messages.js';
import { duration } from '../../plan/numbers.js';
import { oneLine } from '../../plan/one-line.js';
import { standingRows, type IterationMetrics } from '../../plan/metrics.js';
import { readIncidents } from '../../records/incidents.js';
import { metricsLine } from '../../records/metrics-lines.js';
import { readMetrics } from '../../records/metrics.js';
import { textTable } from '../../report/table.js';
import { lossCurve, showNumber, summariseTraining, trainingSentences } from '../../report/training.js';
import { CommandError, EXIT_CODES } from '../exit-codes.js';
import { note, print } from '../output.js';
import { openStore } from '../store.js';
import { withAnneal, type WhereFlags } from '../where.js';

export interface MetricsFlags extends WhereFlags {
  readonly json?: boolean;
  readonly tensorboard?: string;
}

/** Of a terminal that does not say how wide it is. */
const DEFAULT_COLUMNS = 80;
const CURVE_LINES = 8;
/** Rows of the table: enough to see a course, few enough for a screen. */
const TABLE_ROWS = 12;

export async function metrics(runId: string, flags: MetricsFlags): Promise<number> {
  const store = await openStore(flags);
  const { rows } = await readMetrics(store, runId);
  if (rows.length === 0) throw new CommandError('notFound', await whyNothing(runId, flags, store.url));
  if (flags.tensorboard !== undefined) await writeEventFile(join(flags.tensorboard, runId), rows);
  if (flags.json) print(rows.map(metricsLine).join('\n'));
  else print(showMetrics(runId, rows, process.stdout.columns || DEFAULT_COLUMNS, await readIncidents(store, runId)));
  return EXIT_CODES.ok.code;
}

/** What a person sees: sentence, curve, and some of the iterations. */
export function showMetrics(
  runId: string,
  rows: readonly IterationMetrics[],
  width: number,
  incidents: readonly Incident[] = [],
): string {
  const summary = summariseTraining(rows);
  if (summary === undefined) return `${runId}: every iteration so far was rolled back.`;
  const { training, rolledBack, missing } = trainingSentences(summary);
  return [
    `${runId}: ${training}`,
    ...(rolledBack === undefined ? [] : [`rolled back: ${rolledBack}`]),
    ...(missing === undefined ? [] : [`not recorded: ${missing}`]),
    ...incidents.map(showIncident),
    '',
    lossCurve(rows, { width, height: CURVE_LINES }),
    '',
    textTable(
      ['ITERATION', 'GENERATION', 'LOSS', 'LEARNING RATE', 'GRAD NORM', 'SECONDS', 'SAMPLES'],
      someOf(standingRows(rows)).map((row) => [
        ...[row.iteration, row.generation].map(String),
        ...[row.loss, row.learningRate, row.gradNorm, row.seconds].map(showNumber),
        String(row.consumedSamples),
      ]),
    ),
  ].join('\n');
}

function showIncident(incident: Incident): string {
  const { generation, host, failure, iterationsLost, secondsToDetect, secondsToNewIteration } = incident;
  const facts = [
    `${String(iterationsLost)} iterations lost`,
    ...(secondsToDetect === undefined ? [] : [`found after ${duration(secondsToDetect)}`]),
    ...(secondsToNewIteration === undefined ? [] : [`new iterations after ${duration(secondsToNewIteration)}`]),
  ];
  return `incident: generation ${String(generation)}, ${failure} on ${oneLine(host, 64)}: ${facts.join(', ')}`;
}

/** The first and the last of each generation, and between them as many as the table has room for, evenly. */
function someOf(standing: readonly IterationMetrics[]): readonly IterationMetrics[] {
  const step = Math.max(1, Math.ceil(standing.length / TABLE_ROWS));
  return standing.filter(
    ({ generation }, index) =>
      index % step === 0 ||
      index === standing.length - 1 ||
      standing[index - 1]?.generation !== generation ||
      standing[index + 1]?.generation !== generation,
  );
}

/** A run may have reused another's training, which only its workflow knows; without a server the store's word must do. */
async function whyNothing(runId: string, flags: WhereFlags, storeUrl: string): Promise<string> {
  const trainedBy = await withAnneal(flags, async (anneal) => (await anneal.runs.get(runId).metrics()).trainedBy).catch(
    () => undefined,
  );
  return trainedBy === undefined
    ? `Run "${runId}" has measured no iteration yet, as far as ${storeUrl} knows. "anneal runs" lists the runs.`
    : `Run "${runId}" has reused the training of run "${trainedBy}" and has measured nothing itself. See: anneal metrics ${trainedBy}`;
}

/** One file for each run, replaced by each export, so that TensorBoard never shows a run twice. */
async function writeEventFile(folder: string, rows: readonly IterationMetrics[]): Promise<void> {
  const { eventFile, eventFileName } = await import('../../report/tensorboard.js');
  await mkdir(folder, { recursive: true });
  const path = join(folder, eventFileName(rows));
  // TensorBoard does not look at this name, and sees the file only when it is whole.
  const part = join(folder, '.anneal.part');
  await writeFile(part, eventFile(rows));
  await rename(part, path);
  note(`${path} is written. Look at it: tensorboard --logdir ${join(folder, '..')}`);
}

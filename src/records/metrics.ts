/**
 * The loss record of a run in the store: folded from what its generations have shipped, and, once its training has ended, one object.
 * `runs/<run>/metrics.jsonl` is created once. Should the run train again after that (a reset, a checkpoint that was found damaged later),
 * its longer record is created beside it as `metrics-g<last generation>.jsonl`, and the one with the last generation counts.
 */
import { finishedMetricsKey, logPrefix, metricsLogName, runLogPrefix } from '../contract/store-keys.js';
import { foldMetrics, generationsOf, type IterationMetrics } from '../plan/metrics.js';
import type { RunFact } from '../plan/run-log.js';
import { readChunks } from '../storage/chunks.js';
import { readFacts } from '../storage/facts.js';
import { StoreError } from '../storage/errors.js';
import type { ObjectStore } from '../storage/object-store.js';
import { metricsLine, parseMeasurements, parseRecord } from './metrics-lines.js';

type Rows = readonly IterationMetrics[];

export interface LossRecord {
  /** In the order of events; a row without `rolledBackBy` stands, and of each iteration exactly one does. */
  readonly rows: Rows;
  /** The object that holds it; left out while it is still folded from what the generations ship. */
  readonly key?: string;
}

/** The record as it is now: finished, or what a run that trains has measured so far (some seconds late). Empty without any. */
export async function readMetrics(store: ObjectStore, runId: string): Promise<LossRecord> {
  const facts = await readRunFacts(store, runId);
  const finished = await finishedRecord(store, runId);
  // A generation that the record does not have was opened after it was written.
  const isWhole = finished !== undefined && lastGeneration(generationsOf(facts)) <= lastGeneration(finished.rows);
  return isWhole ? finished : { rows: await foldStored(store, runId, facts) };
}

/** Writes the finished record and returns its key; undefined when nothing was measured. Safe to repeat. */
export async function writeMetrics(
  store: ObjectStore,
  runId: string,
  signal?: AbortSignal,
): Promise<string | undefined> {
  const rows = await foldStored(store, runId, await readRunFacts(store, runId), signal);
  if (rows.length === 0) return undefined;
  const before = await finishedRecord(store, runId);
  // The same training, by an attempt before this one; what has come in since then is in no commit.
  if (before !== undefined && lastGeneration(before.rows) >= lastGeneration(rows)) return before.key;
  const key = finishedMetricsKey(runId, before === undefined ? undefined : lastGeneration(rows));
  // Whatever the outcome: where an attempt beside this one was faster, its object is the record.
  await store.create(key, rows.map((row) => `${metricsLine(row)}\n`).join(''), { signal });
  return key;
}

async function readRunFacts(store: ObjectStore, runId: string): Promise<readonly RunFact[]> {
  return (await readFacts(store, runLogPrefix(runId))).map(({ body }) => body as RunFact);
}

/** The fold of everything that the generations have shipped. */
async function foldStored(
  store: ObjectStore,
  runId: string,
  facts: readonly RunFact[],
  signal?: AbortSignal,
): Promise<Rows> {
  const generations = [];
  for (const { generation } of generationsOf(facts)) {
    const pieces = await readChunks(store, logPrefix(runId, metricsLogName(generation)), signal);
    generations.push({ generation, measured: pieces.flatMap((piece) => parseMeasurements(piece.toString('utf8'))) });
  }
  return foldMetrics(facts, generations);
}

async function finishedRecord(store: ObjectStore, runId: string): Promise<Required<LossRecord> | undefined> {
  const first = finishedMetricsKey(runId);
  const stem = first.slice(0, -'.jsonl'.length);
  let found: { key: string; generation: number } | undefined;
  for await (const { key } of store.list(stem)) {
    const generation = key === first ? 0 : Number(/^-g(\d+)\.jsonl$/.exec(key.slice(stem.length))?.[1] ?? Number.NaN);
    if (generation >= (found?.generation ?? 0)) found = { key, generation };
  }
  const bytes = found === undefined ? undefined : await store.read(found.key);
  if (found === undefined || bytes === undefined) return undefined;
  try {
    return { key: found.key, rows: parseRecord(bytes.toString('utf8')) };
  } catch (error) {
    throw new StoreError(
      'DigestMismatch',
      `${found.key} in ${store.url} is damaged: ${(error as Error).message}`,
      error,
    );
  }
}

/** Of rows or of generations, both of which are in the order of generations. */
const lastGeneration = (rows: readonly { readonly generation: number }[]): number => rows.at(-1)?.generation ?? 0;

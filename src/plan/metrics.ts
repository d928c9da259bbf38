/** The loss record: what the generations of a run have measured, folded into one record that has each iteration once. */
import type { RunFact } from './run-log.js';

/** What a trainer measures at one iteration; exact, as the rank that computes the loss knows it. */
export interface Measurement {
  readonly iteration: number;
  readonly loss: number;
  readonly gradNorm: number;
  /** The rate that was used. */
  readonly learningRate: number;
  /** Since the beginning of the training, this iteration included. */
  readonly consumedSamples: number;
  /** What the iteration took, without the save that may follow it. */
  readonly seconds: number;
  /** Epoch milliseconds by the clock of the host that measured. */
  readonly at: number;
}

/** One row of the record. */
export interface IterationMetrics extends Measurement {
  readonly generation: number;
  /** The generation that began before this iteration and trained it again; left out of a row that stands. */
  readonly rolledBackBy?: number;
}

/** Everything that one generation has measured and that is known of it, in any order. */
export interface GenerationMeasurements {
  readonly generation: number;
  readonly measured: readonly Measurement[];
}

type Open = Extract<RunFact, { readonly fact: 'open' }>;

/** The generations of a run with the iteration that each began from, in the order in which they were opened. */
export function generationsOf(facts: readonly RunFact[]): readonly Open[] {
  return facts.filter((fact) => fact.fact === 'open');
}

/**
 * The record in the order of events: by generation, then by iteration. Of all rows of an iteration exactly one stands, that of the last
 * generation that trained it; the others name the generation that rolled them back. What no `open` fact accounts for is left out.
 */
export function foldMetrics(
  facts: readonly RunFact[],
  generations: readonly GenerationMeasurements[],
): readonly IterationMetrics[] {
  const opened = generationsOf(facts).toSorted((a, b) => a.generation - b.generation);
  const measured = new Map(generations.map((one) => [one.generation, one.measured]));
  return opened.flatMap(({ generation, fromIteration }, index) => {
    const later = opened.slice(index + 1);
    // A trainer writes each iteration once; should a line be there twice, the first one counts.
    const once = new Map<number, Measurement>();
    for (const row of measured.get(generation) ?? [])
      if (row.iteration > fromIteration && !once.has(row.iteration)) once.set(row.iteration, row);
    return [...once.values()]
      .sort((a, b) => a.iteration - b.iteration)
      .map((row): IterationMetrics => {
        const rolledBackBy = later.find((next) => next.fromIteration < row.iteration)?.generation;
        return { generation, ...row, ...(rolledBackBy === undefined ? {} : { rolledBackBy }) };
      });
  });
}

/** The rows that count, each iteration once, ascending. */
export function standingRows(rows: readonly IterationMetrics[]): readonly IterationMetrics[] {
  return rows.filter(({ rolledBackBy }) => rolledBackBy === undefined);
}

/** Iterations up to the last one that stands of which no measurement is known, as [first, last]; normally none. */
export function gapsIn(rows: readonly IterationMetrics[]): readonly (readonly [number, number])[] {
  const gaps: (readonly [number, number])[] = [];
  let expected = 1;
  for (const { iteration } of standingRows(rows)) {
    if (iteration > expected) gaps.push([expected, iteration - 1]);
    expected = iteration + 1;
  }
  return gaps;
}

/** What a training's loss record says, for people: from which loss to which, how fast, what was rolled back, and the curve. */
import { gapsIn, standingRows, type IterationMetrics } from '../plan/metrics.js';
import { drawCurve, type CurveSize } from './curve.js';

export interface TrainingSummary {
  /** Iterations that stand. */
  readonly iterations: number;
  readonly first: LossAt;
  readonly last: LossAt;
  /** While it iterated: saves and restarts are not counted. Undefined of a single iteration. */
  readonly samplesPerSecond?: number;
  readonly generations: readonly GenerationSummary[];
  /** Iterations that are not in the record though they must have been, as [first, last]; normally none. */
  readonly missing: readonly (readonly [number, number])[];
}
interface LossAt {
  readonly iteration: number;
  readonly loss: number;
}
interface GenerationSummary {
  readonly generation: number;
  /** The first iteration that it measured, and how many of all it measured were rolled back later. */
  readonly firstIteration: number;
  readonly rolledBack: number;
}

/** Undefined when no iteration stands. */
export function summariseTraining(rows: readonly IterationMetrics[]): TrainingSummary | undefined {
  const standing = standingRows(rows);
  const [first, last] = [standing[0], standing.at(-1)];
  if (first === undefined || last === undefined) return undefined;
  const speed = samplesPerSecond(standing);
  return {
    iterations: standing.length,
    first: { iteration: first.iteration, loss: first.loss },
    last: { iteration: last.iteration, loss: last.loss },
    ...(speed === undefined ? {} : { samplesPerSecond: speed }),
    generations: generationsIn(rows),
    missing: gapsIn(rows),
  };
}

/** One sentence for each thing that there is to say. */
export function trainingSentences({ iterations, first, last, samplesPerSecond: speed, ...rest }: TrainingSummary): {
  readonly training: string;
  readonly rolledBack?: string;
  readonly missing?: string;
} {
  const rolledBack = rest.generations.filter((one) => one.rolledBack > 0);
  return {
    training:
      `${String(iterations)} iterations, loss ${showNumber(first.loss)} at ${String(first.iteration)} and ` +
      `${showNumber(last.loss)} at ${String(last.iteration)}${speed === undefined ? '' : `, ${speed.toFixed(0)} samples/s`}`,
    ...(rolledBack.length === 0
      ? {}
      : {
          rolledBack: rolledBack
            .map((one) => `${String(one.rolledBack)} iterations of generation ${String(one.generation)}`)
            .join(', '),
        }),
    ...(rest.missing.length === 0
      ? {}
      : { missing: `iterations ${rest.missing.map(([from, to]) => `${String(from)}-${String(to)}`).join(', ')}` }),
  };
}

/** The curve with its scale, its iterations and, below, where each later generation began. Empty when nothing stands. */
export function lossCurve(rows: readonly IterationMetrics[], { width, height }: CurveSize): string {
  const standing = standingRows(rows);
  const [first, last] = [standing[0], standing.at(-1)];
  if (first === undefined || last === undefined) return '';
  const marks = standing.flatMap(({ generation }, at) =>
    at > 0 && standing[at - 1]?.generation !== generation ? [{ at, label: `g${String(generation)}` }] : [],
  );
  const columns = Math.min(standing.length, Math.max(MIN_WIDTH, width - LABEL - SEPARATOR.length));
  const losses = standing.map(({ loss }) => loss);
  const { lines, range, marks: markLine } = drawCurve(losses, { width: columns, height }, marks);
  const scale = new Map([[height - 1, range?.bottom] as const, [0, range?.top] as const]);
  const axis = String(first.iteration).padEnd(columns - String(last.iteration).length) + String(last.iteration);
  const below = ' '.repeat(LABEL + SEPARATOR.length);
  return [
    ...lines.map((line, index) => {
      const value = scale.get(index);
      return `${(value === undefined ? '' : showNumber(value)).padStart(LABEL)}${SEPARATOR}${line}`;
    }),
    ...(markLine === '' ? [] : [`${below}${markLine}`]),
    `${below}${axis}`,
  ].join('\n');
}

/** Wide enough for a number of four digits with sign and exponent. */
const LABEL = 10;
const SEPARATOR = ' |';
/** Narrower than this nothing can be seen. */
const MIN_WIDTH = 10;

/** Four digits: `2.303`, `0.04120`, `NaN`. */
export function showNumber(value: number): string {
  return Number.isFinite(value) ? value.toPrecision(4) : String(value);
}

/** Over neighbouring iterations only, so that a hole counts for nothing. */
function samplesPerSecond(standing: readonly IterationMetrics[]): number | undefined {
  let [samples, seconds] = [0, 0];
  standing.forEach((row, index) => {
    const before = standing[index - 1];
    if (before?.iteration !== row.iteration - 1) return;
    samples += row.consumedSamples - before.consumedSamples;
    seconds += row.seconds;
  });
  return seconds > 0 ? samples / seconds : undefined;
}

function generationsIn(rows: readonly IterationMetrics[]): readonly GenerationSummary[] {
  const found = new Map<number, GenerationSummary>();
  for (const { generation, iteration, rolledBackBy } of rows) {
    const { firstIteration, rolledBack } = found.get(generation) ?? { firstIteration: iteration, rolledBack: 0 };
    found.set(generation, {
      generation,
      firstIteration,
      rolledBack: rolledBack + (rolledBackBy === undefined ? 0 : 1),
    });
  }
  return [...found.values()];
}

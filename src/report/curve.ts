/** A curve as lines of block characters: as wide as asked for, with marks below it. */

export interface CurveSize {
  /** Columns at most; fewer values take one column each. */
  readonly width: number;
  /** Lines; with one line it is a sparkline. */
  readonly height: number;
}

/** A mark below a value. */
export interface Mark {
  /** Index of the value. */
  readonly at: number;
  readonly label: string;
}

export interface Curve {
  /** Top line first. */
  readonly lines: readonly string[];
  /** Values at the top and at the bottom of the lines; undefined when no value is finite. */
  readonly range?: { readonly top: number; readonly bottom: number };
  /** `^2` at the column of each mark; empty without marks. A label that would run into another is left out. */
  readonly marks: string;
}

const BLOCKS = ' ▁▂▃▄▅▆▇█';
const LEVELS = BLOCKS.length - 1;

/** Each column shows the mean of its share of the values. What is not finite is left out; a column of only that stays blank. */
export function drawCurve(values: readonly number[], { width, height }: CurveSize, marks: readonly Mark[] = []): Curve {
  const count = Math.max(0, Math.min(Math.floor(width), values.length));
  const start = (column: number): number => Math.floor((column * values.length) / count);
  const means = Array.from({ length: count }, (_, column) => mean(values.slice(start(column), start(column + 1))));
  const finite = means.filter((value) => value !== undefined);
  const top = finite.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
  const bottom = finite.reduce((least, value) => Math.min(least, value), Number.POSITIVE_INFINITY);
  const steps = height * LEVELS - 1;
  // The lowest value still shows: an empty column means that nothing is known.
  const levels = means.map((value) =>
    value === undefined ? 0 : 1 + (top === bottom ? 0 : Math.round(((value - bottom) / (top - bottom)) * steps)),
  );
  const lines = Array.from({ length: height }, (_, line) => {
    const below = (height - 1 - line) * LEVELS;
    return levels.map((level) => BLOCKS[Math.max(0, Math.min(LEVELS, level - below))]).join('');
  });
  const columnOf = (at: number): number => Math.floor(((at + 1) * count - 1) / values.length);
  return {
    lines: lines.map((line) => line.trimEnd()),
    ...(finite.length === 0 ? {} : { range: { top, bottom } }),
    marks: markLine(marks.map(({ at, label }) => ({ column: columnOf(at), label }))),
  };
}

function markLine(marks: readonly { readonly column: number; readonly label: string }[]): string {
  return marks
    .toSorted((a, b) => a.column - b.column)
    .reduce((line, { column, label }) => {
      if (column < line.length) return line;
      return `${line.padEnd(column)}^${label}`;
    }, '');
}

function mean(values: readonly number[]): number | undefined {
  const finite = values.filter((value) => Number.isFinite(value));
  return finite.length === 0 ? undefined : finite.reduce((sum, value) => sum + value, 0) / finite.length;
}

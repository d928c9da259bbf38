/** Both forms of a measured iteration as text: the line that a trainer writes, and the line of the run's record. */
import type { IterationMetrics, Measurement } from '../plan/metrics.js';

/** `0x1.921fb54442d18p+1`, as Python's `float.hex()` writes every finite number. */
const HEX_FLOAT = /^(-?)0x([01])\.([0-9a-f]{13})p([+-]\d{1,4})$/;
/** How `float.hex()` writes zero, and what is not finite. */
const SPECIAL: Readonly<Record<string, number>> = {
  ...{ '0x0.0p+0': 0, '-0x0.0p+0': -0 },
  ...{ nan: Number.NaN, inf: Number.POSITIVE_INFINITY, '-inf': Number.NEGATIVE_INFINITY },
};

/** The number whose bits `float.hex()` has written; undefined for any other text. */
export function parseHexFloat(text: string): number | undefined {
  if (Object.hasOwn(SPECIAL, text)) return SPECIAL[text];
  const [, sign, whole, fraction, exponent] = HEX_FLOAT.exec(text) ?? [];
  if (whole === undefined || fraction === undefined || exponent === undefined) return undefined;
  // Each step is exact: 53 bits at most, then a power of two.
  const magnitude = (Number(whole) + Number.parseInt(fraction, 16) / 2 ** 52) * 2 ** Number(exponent);
  return sign === '-' ? -magnitude : magnitude;
}

/** As `float.hex()` writes a number. */
function hexFloat(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  const sign = value < 0 || Object.is(value, -0) ? '-' : '';
  if (!Number.isFinite(value)) return `${sign}inf`;
  if (value === 0) return `${sign}0x0.0p+0`;
  const bits = new DataView(new Float64Array([value]).buffer).getBigUint64(0, true);
  const exponent = Number((bits >> 52n) & 0x7ffn);
  const fraction = (bits & 0xfffffffffffffn).toString(16).padStart(13, '0');
  const power = exponent === 0 ? -1022 : exponent - 1023;
  return `${sign}0x${exponent === 0 ? '0' : '1'}.${fraction}p${power < 0 ? '' : '+'}${String(power)}`;
}

/** The line that a trainer writes, for one that writes none. */
export function measurementLine(measured: Measurement): string {
  const { iteration, loss, gradNorm, learningRate, consumedSamples, seconds, at } = measured;
  return JSON.stringify({
    ...{ iteration, loss: hexFloat(loss), grad_norm: hexFloat(gradNorm), lr: hexFloat(learningRate) },
    ...{ consumed_samples: consumedSamples, seconds, time: at / 1000 },
  });
}

/** The iterations in a piece of a trainer's file. A line that is cut at either end of the piece, or not whole yet, is passed over. */
export function parseMeasurements(text: string): readonly Measurement[] {
  return text.split('\n').flatMap((line) => measurement(objectOf(line)) ?? []);
}

function measurement(line: Fields | undefined): Measurement | undefined {
  if (line === undefined) return undefined;
  const hex = (name: string): unknown => (typeof line[name] === 'string' ? parseHexFloat(line[name]) : undefined);
  const { time } = line;
  return checked({
    iteration: line['iteration'],
    loss: hex('loss'),
    gradNorm: hex('grad_norm'),
    learningRate: hex('lr'),
    consumedSamples: line['consumed_samples'],
    seconds: line['seconds'],
    at: typeof time === 'number' ? Math.round(time * 1000) : undefined,
  });
}

/** The order in which a row is written, wherever it comes from: the same row is the same line. */
const FIELDS = [
  'generation',
  'iteration',
  'loss',
  'gradNorm',
  'learningRate',
  'consumedSamples',
  'seconds',
  'at',
  'rolledBackBy',
] as const satisfies readonly (keyof IterationMetrics)[];

/**
 * A row of the record as one line of JSON. A number is written with the digits that give back its bits; JSON has no word for what is
 * not finite, so that is a string, as in Protobuf's JSON.
 */
export function metricsLine(row: IterationMetrics): string {
  const ordered = Object.fromEntries(FIELDS.map((field) => [field, row[field]]));
  return JSON.stringify(ordered, (_, value: unknown) =>
    typeof value === 'number' && !Number.isFinite(value) ? String(value) : value,
  );
}

const NOT_FINITE: readonly unknown[] = ['NaN', 'Infinity', '-Infinity'];

/** The rows of a record. Throws for a line that is none: a record is written once, whole. */
export function parseRecord(text: string): readonly IterationMetrics[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line, index) => {
      const row = recordRow(objectOf(line));
      if (row === undefined) throw new Error(`Line ${String(index + 1)} of the record is not a measured iteration.`);
      return row;
    });
}

function recordRow(fields: Fields | undefined): IterationMetrics | undefined {
  if (fields === undefined) return undefined;
  const number = (name: string): unknown => (NOT_FINITE.includes(fields[name]) ? Number(fields[name]) : fields[name]);
  const { iteration, generation, consumedSamples, seconds, at, rolledBackBy } = fields;
  const measured = checked({
    ...{ iteration, consumedSamples, seconds, at },
    ...{ loss: number('loss'), gradNorm: number('gradNorm'), learningRate: number('learningRate') },
  });
  if (measured === undefined || typeof generation !== 'number') return undefined;
  return { generation, ...measured, ...(typeof rolledBackBy === 'number' ? { rolledBackBy } : {}) };
}

type Fields = Readonly<Record<string, unknown>>;

function objectOf(line: string): Fields | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return value !== null && typeof value === 'object' ? (value as Fields) : undefined;
  } catch {
    return undefined;
  }
}

/** A measurement only when every field is a number, and the iteration one that can be. */
function checked(fields: Readonly<Record<keyof Measurement, unknown>>): Measurement | undefined {
  if (!Object.values(fields).every((value) => typeof value === 'number')) return undefined;
  const measured = fields as Measurement;
  return Number.isSafeInteger(measured.iteration) && measured.iteration > 0 ? measured : undefined;
}

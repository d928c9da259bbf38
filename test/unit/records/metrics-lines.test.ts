/** Both forms of a measured iteration as text; no bit of a number is lost on the way, and half a line is none. */
import { expect, test } from 'vitest';
import type { IterationMetrics } from '../../../src/plan/metrics.js';
import {
  measurementLine,
  metricsLine,
  parseHexFloat,
  parseMeasurements,
  parseRecord,
} from '../../../src/records/metrics-lines.js';
import { python } from '../../support/small-run.js';

const bits = (value: number): string => {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  return view.getBigUint64(0).toString(16).padStart(16, '0');
};

const MEASURED = { iteration: 1, loss: 1, gradNorm: 1, learningRate: NaN, consumedSamples: 1, seconds: 1, at: 1000 };

test('what Python writes by float.hex() is read with the same bits, and written in the same words', async () => {
  const program = `
import random, struct
random.seed(7)
edges = [0, 1 << 63, 1, 0x000fffffffffffff, 0x0010000000000000, 0x7fefffffffffffff, 0x3ff0000000000000, 0x7ff0000000000000, 0xfff0000000000000]
for bits in edges + [random.getrandbits(64) for _ in range(5000)]:
    value = struct.unpack('>d', bits.to_bytes(8, 'big'))[0]
    if value == value:
        print(f'{bits:016x} {value.hex()}')
`;
  const lines = (await python('-c', program)).trim().split('\n');
  expect(lines.length).toBeGreaterThan(4_900);
  const read = lines.map((line) => {
    const [, text = ''] = line.split(' ');
    return `${bits(parseHexFloat(text) ?? Number.NaN)} ${text}`;
  });
  expect(read).toEqual(lines);
  const written = lines.map((line) => {
    const at = new DataView(new ArrayBuffer(8));
    at.setBigUint64(0, BigInt(`0x${line.slice(0, 16)}`));
    const loss = at.getFloat64(0);
    const { loss: text } = JSON.parse(measurementLine({ ...MEASURED, loss })) as { loss: string };
    return `${line.slice(0, 16)} ${text}`;
  });
  expect(written).toEqual(lines);
  expect(parseHexFloat('nan')).toBeNaN();
});

test.each(['', '1.5', '0x1.8p+0', '0x1.8000000000000', '0x1.8000000000000p', '-nan', 'toString'])(
  '%j is no number of a trainer',
  (text) => {
    expect(parseHexFloat(text)).toBeUndefined();
  },
);

/** As the trainer writes them; `test/e2e` reads those of a real one. */
const line = (iteration: number): string =>
  JSON.stringify({
    ...{ iteration, loss: '0x1.2680000000000p+1', grad_norm: '0x1.0000000000000p-1', lr: '0x0.0p+0' },
    ...{ consumed_samples: iteration * 64, seconds: 0.25, time: 1_700_000_000.125 },
  });

test('a line of a trainer', () => {
  expect(parseMeasurements(`${line(3)}\n`)).toEqual([
    {
      ...{ iteration: 3, loss: 2.30078125, gradNorm: 0.5, learningRate: 0, consumedSamples: 192 },
      ...{ seconds: 0.25, at: 1_700_000_000_125 },
    },
  ]);
});

test('wherever a piece is cut, the lines that are whole are read and no others', () => {
  const text = `${line(1)}\n${line(2)}\n${line(3)}\n`;
  const [first, second] = [line(1).length, line(1).length + 1 + line(2).length];
  for (let cut = 0; cut <= text.length; cut += 1) {
    const read = (piece: string): number[] => parseMeasurements(piece).map(({ iteration }) => iteration);
    const before = [1, 2, 3].slice(0, cut >= text.length - 1 ? 3 : cut >= second ? 2 : cut >= first ? 1 : 0);
    const after = [1, 2, 3].slice(cut === 0 ? 0 : cut <= first + 1 ? 1 : cut <= second + 1 ? 2 : 3);
    expect([cut, read(text.slice(0, cut)), read(text.slice(cut))]).toEqual([cut, before, after]);
  }
});

test.each([
  ['another kind of JSON', '[1, 2]'],
  ['no JSON', 'iteration 3'],
  ['a number that was rounded', line(1).replace('"0x1.2680000000000p+1"', '2.3')],
  ['no iteration', line(1).replace('"iteration":1', '"iteration":0')],
  ['a field that is missing', line(1).replace('"seconds":0.25,', '')],
])('%s is passed over', (_, text) => {
  expect(parseMeasurements(`${text}\n${line(2)}\n`).map(({ iteration }) => iteration)).toEqual([2]);
});

const row = (loss: number, rolledBackBy?: number): IterationMetrics => ({
  ...{ generation: 1, iteration: 1, loss, gradNorm: Number.MIN_VALUE, learningRate: 0.1 + 0.2, consumedSamples: 64 },
  ...{ seconds: 0.1, at: 1, ...(rolledBackBy === undefined ? {} : { rolledBackBy }) },
});

test('a row of the record comes back with the same bits, also one that is not finite', () => {
  const rows = [row(Math.PI), row(1e-310, 2), row(Number.NaN), row(Number.NEGATIVE_INFINITY), row(2 ** 60 + 2 ** 8)];
  const text = rows.map((one) => `${metricsLine(one)}\n`).join('');
  const read = parseRecord(text);
  expect(read).toEqual(rows);
  expect(read.map(({ loss }) => bits(loss))).toEqual(rows.map(({ loss }) => bits(loss)));
  expect(text).toContain('"loss":"NaN"');
});

test('a record with a line that is none is damaged', () => {
  expect(() => parseRecord(`${metricsLine(row(1))}\n{"iteration":2}\n`)).toThrow(/Line 2 of the record/);
});

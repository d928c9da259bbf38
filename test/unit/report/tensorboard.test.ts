/**
 * The event file, read by a decoder of the test's own. That TensorBoard reads it was checked by hand with TensorBoard 2.21.0 (its
 * EventFileLoader checks each checksum): docs/cli.md says how.
 */
import { expect, test } from 'vitest';
import type { IterationMetrics } from '../../../src/plan/metrics.js';
import { eventFile, eventFileName } from '../../../src/report/tensorboard.js';

/** CRC-32C bit by bit, as Castagnoli's polynomial defines it. */
function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}
function unmasked(masked: number): number {
  const rotated = (masked - 0xa282ead8) >>> 0;
  return ((rotated >>> 17) | (rotated << 15)) >>> 0;
}

/** The bodies of the TFRecords of a file, each with checksums that are right. */
function recordsOf(file: Buffer): Buffer[] {
  const records: Buffer[] = [];
  for (let at = 0; at < file.byteLength;) {
    const length = Number(file.readBigUInt64LE(at));
    const body = file.subarray(at + 12, at + 12 + length);
    expect(unmasked(file.readUInt32LE(at + 8))).toBe(crc32c(file.subarray(at, at + 8)));
    expect(unmasked(file.readUInt32LE(at + 12 + length))).toBe(crc32c(body));
    records.push(body);
    at += 12 + length + 4;
  }
  return records;
}

type Field = readonly [number: number, value: number | Buffer];

/** The fields of a Protobuf message by its wire format. */
function fieldsOf(message: Buffer): Field[] {
  const fields: Field[] = [];
  let at = 0;
  const varint = (): number => {
    let [value, shift] = [0, 1];
    for (;;) {
      const byte = message[at++] ?? 0;
      value += (byte & 127) * shift;
      if (byte < 128) return value;
      shift *= 128;
    }
  };
  while (at < message.byteLength) {
    const key = varint();
    const number = key >>> 3;
    switch (key & 7) {
      case 0:
        fields.push([number, varint()]);
        break;
      case 1:
        fields.push([number, message.readDoubleLE(at)]);
        at += 8;
        break;
      case 2: {
        const length = varint();
        fields.push([number, message.subarray(at, at + length)]);
        at += length;
        break;
      }
      case 5:
        fields.push([number, message.readFloatLE(at)]);
        at += 4;
        break;
      default:
        throw new Error(`No wire type ${key & 7}.`);
    }
  }
  return fields;
}
const bytes = (value: number | Buffer | undefined): Buffer => {
  if (!(value instanceof Buffer)) throw new Error('The field is no message.');
  return value;
};

const row = (iteration: number, over: Partial<IterationMetrics> = {}): IterationMetrics => ({
  ...{ generation: 1, iteration, loss: 2.5, gradNorm: 0.75, learningRate: 0.003, consumedSamples: 64 * iteration },
  ...{ seconds: 0.125, at: 1_700_000_000_500 + iteration * 1000, ...over },
});

test('the checksum of the test is CRC-32C', () => {
  expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
});

test('the file begins as every event file of TensorFlow does', () => {
  const file = eventFile([row(1)]);
  expect(file.subarray(0, 12).toString('hex')).toBe('1800000000000000a37f4b22');
  expect(file.subarray(21, 36).toString('latin1')).toBe('\x1a\x0dbrain.Event:2');
});

test('one event an iteration that stands, with its step, its time and all its scalars in single precision', () => {
  const rows = [
    row(1),
    row(2, { rolledBackBy: 2 }),
    row(2, { generation: 2, loss: 1 / 3 }),
    row(300, { loss: Number.NaN }),
  ];
  const [header, ...events] = recordsOf(eventFile(rows)).map(fieldsOf);
  expect(header?.map(([number]) => number)).toEqual([1, 3]);
  const read = events.map((event) => {
    const [wallTime, step, summary] = [1, 2, 5].map((number) => event.find(([one]) => one === number)?.[1]);
    const scalars = fieldsOf(bytes(summary)).map(([, value]) => {
      const [tag, scalar] = fieldsOf(bytes(value));
      return [bytes(tag?.[1]).toString(), scalar?.[1]];
    });
    return { wallTime, step, scalars: Object.fromEntries(scalars) as Record<string, number> };
  });
  expect(read.map(({ wallTime, step }) => [wallTime, step])).toEqual([
    [1_700_000_001.5, 1],
    [1_700_000_002.5, 2],
    [1_700_000_300.5, 300],
  ]);
  expect(read[1]?.scalars).toEqual({
    ...{ loss: Math.fround(1 / 3), 'learning-rate': Math.fround(0.003), 'grad-norm': 0.75 },
    ...{ 'iteration-time': 0.125, generation: 2 },
  });
  expect(read[2]?.scalars['loss']).toBeNaN();
});

test('the name is the same for each export of a run, with the marker that TensorBoard looks for', () => {
  expect(eventFileName([row(1)])).toBe('events.out.tfevents.1700000001.anneal');
  expect(eventFileName([row(1), row(2)])).toBe(eventFileName([row(1)]));
});

/**
 * The loss record as a TensorBoard event file: TFRecords, each an `Event` of TensorFlow's event.proto, with scalars under the tags that
 * Megatron uses. TensorBoard keeps single precision; the exact numbers are in the record.
 */
import { crc32c } from '@aws-crypto/crc32c';
import { Writer } from 'protobufjs/minimal.js';
import { standingRows, type IterationMetrics } from '../plan/metrics.js';

/** What is shown of a row, by tag. */
const SCALARS: Readonly<Record<string, (row: IterationMetrics) => number>> = {
  loss: ({ loss }) => loss,
  'learning-rate': ({ learningRate }) => learningRate,
  'grad-norm': ({ gradNorm }) => gradNorm,
  'iteration-time': ({ seconds }) => seconds,
  generation: ({ generation }) => generation,
};

/** TensorBoard reads every file whose name holds `tfevents`. The same run always gives the same name, so a later export replaces it. */
export function eventFileName(rows: readonly IterationMetrics[]): string {
  const seconds = Math.floor((rows[0]?.at ?? 0) / 1000);
  return `events.out.tfevents.${String(seconds).padStart(10, '0')}.anneal`;
}

/** The iterations that stand, one event each; steps only ever grow, so TensorBoard draws one line. */
export function eventFile(rows: readonly IterationMetrics[]): Buffer {
  const header = Writer.create();
  header.uint32(tag(EVENT.wallTime, FIXED_64)).double((rows[0]?.at ?? 0) / 1000);
  header.uint32(tag(EVENT.fileVersion, LENGTH)).string('brain.Event:2');
  return Buffer.concat([header.finish(), ...standingRows(rows).map(event)].map(record));
}

/** Numbers of the fields in event.proto and summary.proto. */
const EVENT = { wallTime: 1, step: 2, fileVersion: 3, summary: 5 };
const SUMMARY = { value: 1 };
const VALUE = { tag: 1, simpleValue: 2 };
/** Protobuf's wire types. */
const [VARINT, FIXED_64, LENGTH, FIXED_32] = [0, 1, 2, 5];
const tag = (field: number, wireType: number): number => (field << 3) | wireType;

function event(row: IterationMetrics): Uint8Array {
  const writer = Writer.create();
  writer.uint32(tag(EVENT.wallTime, FIXED_64)).double(row.at / 1000);
  writer.uint32(tag(EVENT.step, VARINT)).int64(row.iteration);
  writer.uint32(tag(EVENT.summary, LENGTH)).fork();
  for (const [name, scalar] of Object.entries(SCALARS)) {
    writer.uint32(tag(SUMMARY.value, LENGTH)).fork();
    writer.uint32(tag(VALUE.tag, LENGTH)).string(name);
    writer.uint32(tag(VALUE.simpleValue, FIXED_32)).float(scalar(row)).ldelim();
  }
  return writer.ldelim().finish();
}

/** A TFRecord: length, its checksum, the bytes, their checksum; all little-endian. */
function record(bytes: Uint8Array): Buffer {
  const head = Buffer.alloc(12);
  head.writeBigUInt64LE(BigInt(bytes.byteLength));
  head.writeUInt32LE(maskedChecksum(head.subarray(0, 8)), 8);
  const foot = Buffer.alloc(4);
  foot.writeUInt32LE(maskedChecksum(bytes));
  return Buffer.concat([head, bytes, foot]);
}

/** TensorFlow rotates and shifts each CRC-32C, since a checksum of data that holds checksums is weak. */
function maskedChecksum(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

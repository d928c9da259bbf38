/**
 * The loss record of a trainer that writes none itself: each iteration in its log becomes one line of a file beside it, which is then shipped
 * like the file of a trainer that does. The same log always gives the same bytes, so attempts that follow each other ship one record.
 */
import { appendFile, open } from 'node:fs/promises';
import type { Backend } from '../../backends/backend.js';
import type { IterationEvent } from '../../backends/mindspeed/log.js';
import type { Measurement } from '../../plan/metrics.js';
import { parseLines } from '../../process/log-tail.js';
import { measurementLine } from '../../records/metrics-lines.js';

const CHUNK_BYTES = 256 * 1024;

/** Returns what brings `file` up to date with `log`. Calls must not overlap; nobody else may write the file. */
export function measuredLines(
  log: string,
  file: string,
  { parseLine }: Pick<Backend, 'parseLine'>,
): () => Promise<void> {
  let fromByte = 0;
  const lineOf = (text: string): string => {
    const event = parseLine(text);
    if (event?.kind !== 'iteration') return '';
    const line = measured(event);
    return line === undefined ? '' : `${measurementLine(line)}\n`;
  };
  return async () => {
    const source = await open(log, 'r').catch(() => undefined);
    if (source === undefined) return;
    try {
      const buffer = Buffer.alloc(CHUNK_BYTES);
      for (;;) {
        const { bytesRead } = await source.read(buffer, 0, CHUNK_BYTES, fromByte);
        const { lines, bytes } = parseLines(buffer.subarray(0, bytesRead));
        // A line that is longer than all that we read is none of Megatron's: the piece is passed over.
        const taken = bytes === 0 && bytesRead === CHUNK_BYTES ? bytesRead : bytes;
        if (taken === 0) return;
        await appendFile(file, lines.map(lineOf).join(''));
        fromByte += taken;
      }
    } finally {
      await source.close();
    }
  };
}

/**
 * A loss or a norm that the log does not have is NaN. Undefined where one of the others is missing: of releases before 2.2.0, which print
 * neither the time nor the rate that was used. MindSpeed MM's own loop does since then; Megatron's prints the rate of the coming iteration.
 */
function measured(event: IterationEvent): Measurement | undefined {
  const { iteration, loss = NaN, gradNorm = NaN, learningRate, consumedSamples, elapsedMs, at } = event;
  if (at === undefined || learningRate === undefined || consumedSamples === undefined || elapsedMs === undefined)
    return undefined;
  return { iteration, loss, gradNorm, learningRate, consumedSamples, seconds: Math.round(elapsedMs * 1000) / 1e6, at };
}

/** Reads CANN's own logs of a trainer, one for each process, in the time of its host: what each says of its end, as one story. */

/** A rank that waits for one that has died goes on for as long as a collective may take, half an hour, before it says so. */
const WINDOW_MS = 35 * 60_000;

/** `[ERROR] HCCL(686,python):2025-10-23-07:52:59.191.363 [file.cc:951] …` */
const ERROR_LINE = /^\[ERROR\][^:]*:(\d{4})-(\d\d)-(\d\d)-(\d\d):(\d\d):(\d\d)\.(\d{3})/;

export function plogErrors(texts: readonly string[], at: number): readonly string[] {
  const errors = texts.flatMap((text) =>
    text.split('\n').flatMap((line) => {
      const since = writtenAt(line);
      return since === undefined || since < at - WINDOW_MS ? [] : [{ since, line }];
    }),
  );
  return errors.toSorted((a, b) => a.since - b.since).map(({ line }) => line);
}

function writtenAt(line: string): number | undefined {
  const found = ERROR_LINE.exec(line);
  if (found === null) return undefined;
  const [year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0, ms = 0] = found.slice(1).map(Number);
  return new Date(year, month - 1, day, hour, minute, second, ms).getTime();
}

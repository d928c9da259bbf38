/** Reads Megatron's log lines by the names in them, never by column: columns moved between releases, names did not. */

export interface IterationEvent {
  readonly kind: 'iteration';
  readonly iteration: number;
  readonly iterations: number;
  /** When it was printed, by the clock of its host: epoch milliseconds, to the second. Releases before 2.2.0 do not say. */
  readonly at?: number;
  readonly consumedSamples?: number;
  readonly elapsedMs?: number;
  readonly learningRate?: number;
  readonly globalBatchSize?: number;
  /** Left out when the iteration was skipped and when the loss is not a finite number. */
  readonly loss?: number;
  readonly gradNorm?: number;
  readonly skippedIterations: number;
  readonly nanIterations: number;
  /** Whether loss or gradient norm is no finite number. Megatron prints no loss then: it omits an average that is not above 0. */
  readonly diverged: boolean;
}

/** The last words of a rank of the `cpu` trainer: numbers as it printed them. */
export interface NotFiniteEvent {
  readonly kind: 'not-finite';
  readonly iteration: number;
  readonly loss: string;
  readonly gradNorm: string;
  readonly lossBefore?: string;
  /** Ranks that made it out of finite values. */
  readonly ranks: readonly number[];
}
export type TrainerPhase =
  'initialized' | 'building model' | 'model built' | 'data loaders built' | 'set up' | 'training' | 'first step';

export type TrainerEvent =
  | IterationEvent
  | NotFiniteEvent
  | { readonly kind: 'saving'; readonly iteration: number; readonly folder: string }
  | { readonly kind: 'saved'; readonly iteration: number; readonly folder: string }
  | { readonly kind: 'loaded'; readonly iteration: number; readonly folder: string }
  | { readonly kind: 'training-done' }
  | { readonly kind: 'exiting'; readonly iteration: number }
  | { readonly kind: 'stop-signal' }
  | { readonly kind: 'phase'; readonly phase: TrainerPhase }
  | {
      readonly kind: 'memory';
      readonly rank: number;
      readonly allocatedMegabytes: number;
      readonly maxAllocatedMegabytes: number;
    };

/** The longest line that is looked at; a longer one is a dump of data, not Megatron's. */
const MAX_LINE = 4096;

export function parseLine(rawLine: string): TrainerEvent | undefined {
  if (rawLine.length > MAX_LINE) return undefined;
  // torchrun's --tee prefixes each line with its rank.
  const line = rawLine.trimEnd().replace(/^\[[a-z]+\d+\]:/, '');
  for (const parse of [iteration, save, load, exit, phase, memory, notFinite]) {
    const event = parse(line);
    if (event !== undefined) return event;
  }
  return undefined;
}

function iteration(line: string): IterationEvent | undefined {
  const head = /\biteration\s+(\d+)\/\s*(\d+)\s*\|(.*)$/.exec(line);
  if (head === null) return undefined;
  const at = printedAt(line);
  const fields = new Map<string, string>();
  for (const part of (head[3] ?? '').split('|')) {
    const colon = part.lastIndexOf(':');
    if (colon > 0) fields.set(part.slice(0, colon).trim(), part.slice(colon + 1).trim());
  }
  const loss = fields.get('loss') ?? fields.get('lm loss');
  const gradNorm = fields.get('grad norm');
  const nanIterations = Number(fields.get('number of nan iterations') ?? 0);
  return {
    kind: 'iteration',
    iteration: Number(head[1]),
    iterations: Number(head[2]),
    ...(at === undefined ? {} : { at }),
    ...finite('consumedSamples', fields.get('consumed samples')),
    ...finite('elapsedMs', fields.get('elapsed time per iteration (ms)')),
    ...finite('learningRate', fields.get('learning rate')),
    ...finite('globalBatchSize', fields.get('global batch size')),
    ...finite('loss', loss),
    ...finite('gradNorm', gradNorm),
    skippedIterations: Number(fields.get('number of skipped iterations') ?? 0),
    nanIterations,
    diverged:
      (nanIterations > 0 && loss === undefined) ||
      [loss, gradNorm].some((text) => text !== undefined && /^[+-]?(nan|inf(inity)?)$/i.test(text)),
  };
}

/** ` [2025-10-28 11:38:26] iteration …`, in the host's own time. */
function printedAt(line: string): number | undefined {
  const found = /^\s*\[(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)\]/.exec(line);
  if (found === null) return undefined;
  const [year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0] = found.slice(1).map(Number);
  return new Date(year, month - 1, day, hour, minute, second).getTime();
}

function notFinite(line: string): NotFiniteEvent | undefined {
  const found =
    /error: iteration (\d+) is not finite: loss (\S+), gradient norm (\S+), (?:no loss|loss (\S+)) before it, began on rank ([^.]+)\./.exec(
      line,
    );
  if (found === null) return undefined;
  const [, iterationText, loss = '', gradNorm = '', lossBefore, ranks = ''] = found;
  return {
    ...{ kind: 'not-finite', iteration: Number(iterationText), loss, gradNorm },
    ...(lossBefore === undefined ? {} : { lossBefore }),
    ranks: [...ranks.matchAll(/\d+/g)].map(([rank]) => Number(rank)),
  };
}

function finite<Name extends string>(name: Name, text: string | undefined): Partial<Record<Name, number>> {
  const value = text === undefined || text === '' ? NaN : Number(text);
  return Number.isFinite(value) ? ({ [name]: value } as Partial<Record<Name, number>>) : {};
}

function save(line: string): TrainerEvent | undefined {
  const saving = /^\s*saving checkpoint at iteration\s+(\d+) to (.+?)(?: in \S+ format)?\s*$/.exec(line);
  if (saving !== null) return { kind: 'saving', iteration: Number(saving[1]), folder: saving[2] ?? '' };
  const saved = /successfully saved checkpoint from iteration\s+(\d+) to (.+?)(?:\s+\[ t .*\])?\s*$/.exec(line);
  if (saved !== null) return { kind: 'saved', iteration: Number(saved[1]), folder: saved[2] ?? '' };
  return undefined;
}

function load(line: string): TrainerEvent | undefined {
  const found = /successfully loaded checkpoint from (.+?)(?:\s+\[ t [^\]]*\])? at iteration\s+(\d+)\s*$/.exec(line);
  return found === null ? undefined : { kind: 'loaded', iteration: Number(found[2]), folder: found[1] ?? '' };
}

function exit(line: string): TrainerEvent | undefined {
  if (line.includes('[after training is done]')) return { kind: 'training-done' };
  if (/exiting program after receiving SIG[A-Z]+/.test(line)) return { kind: 'stop-signal' };
  const exiting = /\[exiting program at iteration\s+(\d+)\]/.exec(line);
  return exiting === null ? undefined : { kind: 'exiting', iteration: Number(exiting[1]) };
}

/** Markers that rank 0 prints on its way to the first step. */
const PHASES: readonly (readonly [RegExp, TrainerPhase])[] = [
  [/^\s*building \S.* model \.\.\.|^\s*building VLMModel \.\.\./, 'building model'],
  [/\[after megatron is initialized\]/, 'initialized'],
  [/\[after model, optimizer, and learning rate scheduler are built\]/, 'model built'],
  [/\[after dataloaders are built\]/, 'data loaders built'],
  [/^\s*done with setup \.\.\./, 'set up'],
  [/^\s*training \.\.\./, 'training'],
  [/\[before the start of training step\]/, 'first step'],
];

function phase(line: string): TrainerEvent | undefined {
  const found = PHASES.find(([pattern]) => pattern.test(line));
  return found === undefined ? undefined : { kind: 'phase', phase: found[1] };
}

function memory(line: string): TrainerEvent | undefined {
  const found =
    /\[Rank (\d+)\] \(after \d+ iterations\) memory \(MB\) \| allocated: ([0-9.]+) \| max allocated: ([0-9.]+)/.exec(
      line,
    );
  if (found === null) return undefined;
  return {
    kind: 'memory',
    rank: Number(found[1]),
    allocatedMegabytes: Number(found[2]),
    maxAllocatedMegabytes: Number(found[3]),
  };
}

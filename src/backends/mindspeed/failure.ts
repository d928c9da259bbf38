/**
 * Why a trainer ended, from its exit report and its last words. Its exit code alone proves nothing: Megatron ends with 0 when a
 * checkpoint is missing, and torchrun with 1 after a clean stop.
 */
import type { ExitReport } from '../../process/trainer-files.js';
import type { Tracker } from './checkpoint.js';
import type { ExitVerdict, Rule } from './failure-kinds.js';
import { CAUSES, givesUp, isEchoLine, LAST_RESORT, namesCulprit, NO_CHECKPOINT } from './failure-rules.js';
import { byWords, quote, rankReport } from './failure-words.js';
import { KERNEL_CAUSES, KERNEL_HINTS } from './kernel-rules.js';
import { killedForMemory, type KernelWords } from './oom-kill.js';
import { parseLine, type IterationEvent } from './log.js';

export interface ExitEvidence {
  /** What the supervisor kept: why it ended, and torchrun's exit code (negative: the signal that ended it). */
  readonly exit: Pick<ExitReport, 'reason' | 'rc'>;
  /** The last lines of standard output and standard error, in the order in which they came. */
  readonly lines: readonly string[];
  /** Errors in CANN's own logs shortly before the end, in their order in time. */
  readonly plog?: readonly string[];
  readonly kernel?: KernelWords;
  /** Only node 0 prints the marker and sees the tracker move. */
  readonly nodeRank: number;
  /** The tracker of the save folder; undefined if there is none. */
  readonly tracker?: Tracker;
  readonly iterations: number;
}

export function classifyExit(evidence: ExitEvidence): ExitVerdict {
  return (
    diverged(evidence) ??
    completed(evidence) ??
    gaveUp(evidence) ??
    killedForMemory(evidence) ??
    neverRan(evidence) ??
    // Before the question who ended it: another node's echo may have been faster than torchrun, which waits for its other ranks.
    byWords(evidence.lines, CAUSES) ??
    byPlog(evidence) ??
    byKernel(evidence, KERNEL_CAUSES) ??
    stoppedOnRequest(evidence) ??
    byRankReport(evidence) ??
    // What a trainer says of itself comes before what may have been no harm.
    (firstOwnError(evidence.lines) === undefined ? byKernel(evidence, KERNEL_HINTS) : undefined) ??
    byPeers(evidence) ??
    traceback(evidence) ??
    byWords(evidence.lines, LAST_RESORT) ??
    bySignalOrCode(evidence)
  );
}

/**
 * The first iteration that is no number. Megatron only counts nan iterations and goes on to the end: a trainer that ends amid them
 * has nothing to show, even if it is done.
 */
function diverged({ lines }: ExitEvidence): ExitVerdict | undefined {
  const events = lines.map(parseLine);
  const said = events.find((event) => event?.kind === 'not-finite');
  const printed = events.filter((event) => event?.kind === 'iteration');
  const lastGood = printed.findLastIndex((event) => !event.diverged);
  const bad = printed[lastGood + 1];
  const notFinite = said ?? (bad === undefined ? undefined : asPrinted(bad, printed[lastGood]));
  if (notFinite === undefined) return undefined;
  const message = `The loss was no longer a number at iteration ${String(notFinite.iteration)}.`;
  return { kind: 'loss-diverged', message, notFinite };
}

function asPrinted(
  { iteration, loss, gradNorm }: IterationEvent,
  before: IterationEvent | undefined,
): ExitVerdict['notFinite'] {
  return {
    ...{ iteration, loss: loss === undefined ? 'nan' : String(loss), ranks: [] },
    ...(gradNorm === undefined ? {} : { gradNorm: String(gradNorm) }),
    ...(before?.loss === undefined ? {} : { lossBefore: String(before.loss) }),
  };
}

/** Complete means both: rank 0 said that training is done, and the tracker names the last iteration. */
function completed({ lines, tracker, iterations }: ExitEvidence): ExitVerdict | undefined {
  const saved = tracker?.kind === 'iteration' && tracker.iteration >= iterations;
  const done = lines.some((line) => parseLine(line)?.kind === 'training-done');
  if (!saved || !done) return undefined;
  return { kind: 'completed', message: `Training is done and saved at iteration ${String(tracker.iteration)}.` };
}

/** Before the question who ended it: that may have been its agent, which heard the same words. */
function gaveUp({ lines }: ExitEvidence): ExitVerdict | undefined {
  const line = lines.findLast(givesUp);
  return line === undefined ? undefined : { kind: 'checkpoint-missing', message: `${NO_CHECKPOINT}: ${quote(line)}` };
}

function neverRan({ exit }: ExitEvidence): ExitVerdict | undefined {
  switch (exit.reason) {
    case 'failed-to-start':
      return { kind: 'trainer-error', message: 'The trainer could not be started: the agent log says why.' };
    case 'supervisor-lost':
    case 'supervisor-error':
      return { kind: 'supervisor-lost', message: 'The supervisor of the trainer died, and the trainer with it.' };
    default:
      return undefined;
  }
}

function stoppedOnRequest({ lines, exit, tracker }: ExitEvidence): ExitVerdict | undefined {
  const heard = lines.some((line) => parseLine(line)?.kind === 'stop-signal');
  if (!heard && exit.reason !== 'stopped' && exit.reason !== 'lease') return undefined;
  const at = tracker?.kind === 'iteration' ? ` The last save is iteration ${String(tracker.iteration)}.` : '';
  const why = exit.reason === 'lease' ? 'was ended when its lease ran out' : 'was asked to stop and ended';
  return { kind: 'stopped', message: `The trainer ${why}.${at}` };
}

function byKernel({ kernel }: ExitEvidence, rules: readonly Rule[]): ExitVerdict | undefined {
  return byWords(kernel?.lines ?? [], rules);
}

/** A trainer may only pass on that a peer is gone while CANN has written down which of its own chips has failed. */
function byPlog({ plog = [] }: ExitEvidence): ExitVerdict | undefined {
  return byWords(
    plog,
    CAUSES.filter(({ inPlog }) => inPlog === true),
  );
}

function byRankReport({ lines }: ExitEvidence): ExitVerdict | undefined {
  const report = rankReport(lines);
  if (report === undefined) return undefined;
  const { rank, code } = report;
  if (code === -9)
    return {
      kind: 'killed',
      message: `Rank ${rank} was killed (SIGKILL): by the kernel for want of memory, or by hand.`,
    };
  if (code < 0) return { kind: 'killed', message: `Rank ${rank} was ended by signal ${String(-code)}.` };
  if (code === 2) {
    const own = firstOwnError(lines);
    return {
      kind: 'refused-arguments',
      message:
        own === undefined
          ? `Rank ${rank} refused its arguments (exit code 2).`
          : `The trainer refused its arguments: ${quote(own)}`,
    };
  }
  return undefined;
}

const OWN_ERROR = /^(\[rank\d+\]:\s*)?([A-Za-z_][\w.]*)?(Error|Exception)\b(: |$)|^\[Rank \d+\] error: /;

function byPeers({ exit, lines, nodeRank }: ExitEvidence): ExitVerdict | undefined {
  // torchrun ends with 0 when its ranks have, and waits for the other nodes: node 0, which keeps the list, may leave before it is read.
  if (exit.rc === 0 && nodeRank > 0) return undefined;
  const line = lines.findLast(namesCulprit) ?? lines.findLast(isEchoLine);
  if (line === undefined) return undefined;
  const own = firstOwnError(lines);
  if (own !== undefined) return { kind: 'trainer-error', message: `The trainer failed: ${quote(own)}` };
  return { kind: 'peer-lost', message: `The trainer lost another rank of its gang: ${quote(line)}` };
}

function traceback({ lines }: ExitEvidence): ExitVerdict | undefined {
  const own = firstOwnError(lines);
  return own === undefined ? undefined : { kind: 'trainer-error', message: `The trainer failed: ${quote(own)}` };
}

/**
 * The last line of a Python traceback, e.g. `ValueError: ...`, or the sentence of our own trainer, but neither torchrun's
 * summary nor an echo.
 */
function firstOwnError(lines: readonly string[]): string | undefined {
  return lines.find(
    (line) =>
      OWN_ERROR.test(line.trimStart()) &&
      // A heading: the cause is the traceback's last line.
      !line.trimEnd().endsWith('Traceback (most recent call last):') &&
      !/ChildFailedError|SignalException/.test(line) &&
      !isEchoLine(line),
  );
}

function bySignalOrCode({ exit: { rc }, nodeRank, lines, tracker, iterations }: ExitEvidence): ExitVerdict {
  if (rc === null) return { kind: 'killed', message: 'torchrun ended, and nothing tells how.' };
  if (rc < 0) return { kind: 'killed', message: `torchrun was ended by signal ${String(-rc)}.` };
  const last = lines.findLast((line) => line.trim() !== '');
  const words = last === undefined ? 'It said nothing.' : `Its last words: ${quote(last)}`;
  if (rc > 0) return { kind: 'trainer-error', message: `The trainer ended with exit code ${String(rc)}. ${words}` };
  if (nodeRank > 0) return { kind: 'left', message: 'The trainer of this node ended without an error.' };
  const at = tracker?.kind === 'iteration' ? `iteration ${String(tracker.iteration)}` : 'no iteration';
  return {
    kind: 'trainer-error',
    message: `The trainer ended with exit code 0, but has saved ${at} of ${String(iterations)}. ${words}`,
  };
}

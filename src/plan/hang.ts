/** When a trainer that lives counts as hung: so long without progress as no healthy one of its phase needs. */

/** What a trainer is at. Only node 0 hears how it starts, only the reporting node hears iterations. */
export type TrainerPhase = 'starting' | 'restoring' | 'first iteration' | 'training' | 'saving' | 'done';

/** The spec's own limits, in seconds; what is left out has a default. */
export interface HangLimits {
  readonly startSeconds?: number | undefined;
  readonly restoreSeconds?: number | undefined;
  readonly firstIterationSeconds?: number | undefined;
  readonly iterationSeconds?: number | undefined;
  readonly saveSeconds?: number | undefined;
}

/** Collectives of a thousand ranks find each other, a checkpoint of a terabyte is read, kernels are compiled: each well below half an hour. */
const SLOW_SECONDS = 30 * 60;
/** One slow batch, a full page cache or a neighbour on the same machine is no hang. */
const TIMES_AN_ITERATION = 10;
const ITERATION_FLOOR_SECONDS = 2 * 60;

export interface Watched {
  readonly phase: TrainerPhase;
  readonly nodeRank: number;
  /** Whether this node hears iterations. */
  readonly isReporting: boolean;
  /** Mean of the last iterations; undefined before the first. */
  readonly secondsPerIteration: number | undefined;
}

/**
 * Only the node that hears iterations can tell a trainer that hangs from one that has nothing to say there: undefined for all others.
 */
export function quietLimitSeconds(
  { phase, nodeRank, isReporting, secondsPerIteration = 0 }: Watched,
  limits: HangLimits = {},
): number | undefined {
  if (!isReporting) return undefined;
  const {
    startSeconds: start = SLOW_SECONDS,
    restoreSeconds: restore = SLOW_SECONDS,
    firstIterationSeconds: first = SLOW_SECONDS,
    iterationSeconds: iteration = Math.max(ITERATION_FLOOR_SECONDS, TIMES_AN_ITERATION * secondsPerIteration),
    saveSeconds: save = Math.max(SLOW_SECONDS, iteration),
  } = limits;
  switch (phase) {
    case 'starting':
      // Who hears nothing before the first iteration waits for all that comes before it.
      return nodeRank === 0 ? start : start + restore + first;
    case 'restoring':
      return restore;
    case 'first iteration':
      return first;
    case 'training':
      return iteration;
    case 'saving':
    case 'done':
      // The last save comes after the last iteration, and the end after that.
      return save;
  }
}

export function hangSentence(
  phase: TrainerPhase,
  iteration: number,
  quietSeconds: number,
  limitSeconds: number,
): string {
  return (
    `The trainer lives but has made no progress for ${String(Math.round(quietSeconds))} s ` +
    `(phase "${phase}", after iteration ${String(iteration)}; the limit is ${String(Math.round(limitSeconds))} s).`
  );
}

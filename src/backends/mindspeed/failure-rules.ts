/**
 * What a trainer's words mean, as data: a stack that speaks otherwise adds rows here. Each is looked for in the last lines of a log; what a
 * gang does about a kind is in the table of failures.
 */

export type ExitKind =
  | 'completed'
  /** Ended by itself and without an error on a node that cannot tell whether training is complete; node 0 can. */
  | 'left'
  | 'stopped'
  | 'out-of-memory'
  | 'loss-diverged'
  | 'checkpoint-missing'
  | 'killed'
  | 'supervisor-lost'
  | 'peer-lost'
  | 'trainer-error'
  | 'refused-arguments';

export interface Rule {
  readonly pattern: RegExp;
  readonly kind: ExitKind;
  /** Half a sentence; the line that decided follows it. */
  readonly sentence: string;
}

export const NO_CHECKPOINT = 'The trainer found no checkpoint that it could load';

/** Lines that name a cause by themselves, the surest first. */
export const CAUSES: readonly Rule[] = [
  {
    pattern: /(NPU|CUDA) out of memory|DefaultCPUAllocator: can't allocate memory|^MemoryError\b/,
    kind: 'out-of-memory',
    sentence: 'The trainer ran out of memory',
  },
  {
    pattern:
      /could not find the metadata file|does not exist, though the tracker names its checkpoint|holds no checkpoint, and|Ranks see different checkpoints|FileNotFoundError.*(model_optim_rng|distrib_optim|iter_\d)/,
    kind: 'checkpoint-missing',
    sentence: NO_CHECKPOINT,
  },
  {
    pattern: /found NaN in local|Unexpected result nan|found Inf in local/i,
    kind: 'loss-diverged',
    sentence: 'The loss is no longer a number',
  },
  {
    pattern: /^(usage:|\S+: error: )|: error: (unrecognized arguments|argument |the following arguments)/,
    kind: 'refused-arguments',
    sentence: 'The trainer refused its arguments',
  },
];

/**
 * Megatron's words before it ends by itself with exit code 0, each rank on its own: the others wait for it in a collective, and torchrun
 * waits five minutes for its peers before it ends too.
 */
const GIVES_UP =
  /could not load the checkpoint|'--exit-on-missing-checkpoint' set|Invalid metadata file|Unable to load (rng state|optimizer)/;

export function givesUp(line: string): boolean {
  return GIVES_UP.test(line);
}

/** What a rank says when another one is gone: an echo, never a cause. */
const ECHOES: readonly RegExp[] = [
  /Connection reset by peer/,
  /closed by peer/,
  /Timed out waiting \d+ms/,
  /\bEI000[26]\b/,
  /wait socket establish timeout/,
  /\b(507048|507011)\b/,
  /Heartbeat Lost/,
  /RendezvousTimeoutError/,
  /RendezvousConnectionError/,
  /clients joined/,
  /Broken pipe/,
  /Socket Timeout/,
  /recvValue failed/,
  /failed to recv, got 0 bytes/,
];

export function isEchoLine(line: string): boolean {
  return ECHOES.some((pattern) => pattern.test(line));
}

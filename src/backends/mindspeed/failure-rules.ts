/**
 * What a trainer's words mean, as data: a stack that speaks otherwise adds rows here. Each is looked for in the last lines of a log; what a
 * gang does about a kind is in the table of failures.
 */
import { ASCEND_CAUSES, ASCEND_ECHOES } from './ascend-rules.js';
import type { Rule } from './failure-kinds.js';

export const NO_CHECKPOINT = 'The trainer found no checkpoint that it could load';

/** Lines that name a cause by themselves, the surest first. */
export const CAUSES: readonly Rule[] = [
  ...ASCEND_CAUSES,
  {
    kind: 'out-of-memory',
    sentence: 'The trainer ran out of memory',
    signs: [/CUDA out of memory/, /DefaultCPUAllocator: can't allocate memory/, /^MemoryError\b/],
  },
  {
    kind: 'checkpoint-missing',
    sentence: NO_CHECKPOINT,
    signs: [
      /could not find the metadata file/,
      /does not exist, though the tracker names its checkpoint/,
      /holds no checkpoint, and/,
      /Ranks see different checkpoints/,
      /FileNotFoundError.*(model_optim_rng|distrib_optim|iter_\d)/,
    ],
  },
  {
    kind: 'loss-diverged',
    sentence: 'The loss is no longer a number',
    signs: [/found (NaN|Inf) in local/i, /Unexpected result nan/i],
  },
  {
    kind: 'refused-arguments',
    sentence: 'The trainer refused its arguments',
    signs: [/^usage:/, /^\S+: error: /, /: error: (unrecognized arguments|argument |the following arguments)/],
  },
  {
    kind: 'host-full',
    sentence: 'A disk of the host is full',
    signs: [/No space left on device/, /\bENOSPC\b/, /\bEK0204\b/, /file write failed/],
  },
  {
    kind: 'host-full',
    sentence: 'The shared memory of the host is full',
    signs: [/Signal 7 \(SIGBUS\)/, /bus error.*shared memory/i, /insufficient shared memory/],
    advice: 'Look at what is left in /dev/shm, or give the container more (--ipc=host).',
  },
  {
    kind: 'host-suspect',
    sentence: 'A disk of the host fails',
    signs: [/Stale file handle/, /Input\/output error/, /EXT4-fs error/],
  },
  {
    kind: 'setup-wrong',
    sentence: 'The trainer cannot be loaded',
    signs: [
      /^(\[rank\d+\]:\s*)?(ModuleNotFoundError|ImportError|SyntaxError)\b/,
      /error while loading shared libraries/,
      /cannot open shared object/,
    ],
    advice: 'Compare the host with "anneal doctor"; a package or a library is missing there, or has another version.',
  },
];

/** Said with every trouble of CANN, so it counts only where nothing else was said. */
export const LAST_RESORT: readonly Rule[] = [
  {
    kind: 'trainer-error',
    sentence: 'CANN failed and does not say at what',
    signs: [/\bE[1-9A-Z]9999\b/, /Inner Error/],
    advice: 'Its own logs are in the evidence of the incident.',
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
export const ECHOES: readonly RegExp[] = [
  ...ASCEND_ECHOES,
  /Connection reset/,
  /Connection refused/,
  /closed by peer/,
  /Timed out waiting \d+ms/,
  /Rendezvous(Timeout|Connection)Error/,
  /DistNetworkError/,
  /clients joined/,
  /Broken pipe/,
  /Socket Timeout/,
  /recvValue failed/,
  /failed to recv, got 0 bytes/,
];

export function isEchoLine(line: string): boolean {
  return ECHOES.some((sign) => sign.test(line));
}

/** HCCL's own verdict on who was lost, in the words of one who lost it. */
export function namesCulprit(line: string): boolean {
  return /Cluster Exception Location|fails to connect to dstRank/.test(line);
}

/** What CANN advises beside an error names causes and commands, and is no sign of any. */
export function isAdvice(line: string): boolean {
  return /^\W*(rank\d+\]:\s*)?(Possible (Cause|Reason)|Solution|\d\.\s)/.test(line);
}

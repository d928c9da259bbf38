/** How a trainer can end, and the form of a rule that reads it out of words. What a gang does about a kind is in the table of failures. */

import type { NotFiniteEvent } from './log.js';

export type ExitKind =
  | 'completed'
  /** Ended by itself and without an error on a node that cannot tell whether training is complete; node 0 can. */
  | 'left'
  | 'stopped'
  | 'out-of-memory'
  /** The kernel's doing, which the trainer does not live to tell. */
  | 'out-of-host-memory'
  | 'loss-diverged'
  | 'checkpoint-missing'
  /** A chip, its driver or its link has failed in a way that does not pass. */
  | 'host-broken'
  /** Something of the host that may pass. */
  | 'host-suspect'
  | 'host-full'
  /** Between two hosts, and a peer that died would explain it too. */
  | 'link-failed'
  /** Software, settings or versions with which it fails on any host. */
  | 'setup-wrong'
  | 'killed'
  | 'supervisor-lost'
  | 'peer-lost'
  | 'trainer-error'
  | 'refused-arguments';

export interface ExitVerdict {
  readonly kind: ExitKind;
  /** A whole sentence for a person, with the line that decided. */
  readonly message: string;
  /** Of `loss-diverged`, where the log tells. */
  readonly notFinite?: Omit<NotFiniteEvent, 'kind' | 'gradNorm'> & { readonly gradNorm?: string };
}

export interface Rule {
  readonly kind: ExitKind;
  /** Half a sentence; the line that decided follows it. */
  readonly sentence: string;
  /** Any of them. */
  readonly signs: readonly RegExp[];
  /** What a person looks at first, where the remedy of the kind would be too general. */
  readonly advice?: string;
  /** Whether a line of CANN's own log proves it: nothing there is tried again and goes on. */
  readonly inPlog?: true;
}

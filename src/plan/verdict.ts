/** What a broken gang means: one root among many echoes, and whether another generation is worth its hosts. */
import type { NotFinite } from './divergence.js';
import { EVIDENCE, gangClass } from './failures.js';

/** How one node of a gang ended. */
export interface NodeFailure {
  readonly host: string;
  readonly nodeRank: number;
  /** A failure type of the contract, or `HostLost` when nobody answers for the host. */
  readonly type: string;
  readonly message: string;
  /** How far the node's trainer had come by its own words; left out when nobody can tell. */
  readonly iteration?: number;
  /** When the cause was there, epoch milliseconds by the host's clock; left out when nobody can tell. */
  readonly since?: number;
  /** Of a training whose loss became no number. */
  readonly notFinite?: NotFinite;
}

/** A reset connection is an echo of somebody else's death; so is a rank that another's end took down, or that we stopped after it. */
export function isEcho(type: string): boolean {
  return weight(type) >= EVIDENCE.indexOf('echo');
}

/** Later than all that is known. */
const UNKNOWN = Number.MAX_SAFE_INTEGER;

/** The failure that explains the others: the nearest to a cause, of two as near the earlier one, then the first that is named. */
export function rootCause(failures: readonly NodeFailure[]): NodeFailure | undefined {
  return failures.toSorted((a, b) => weight(a.type) - weight(b.type) || (a.since ?? UNKNOWN) - (b.since ?? UNKNOWN))[0];
}

function weight(type: string): number {
  return EVIDENCE.indexOf(gangClass(type).evidence);
}

export type Verdict =
  | { readonly decision: 'again'; readonly why: string }
  /** The commit that was to be restored is damaged: drop it and take the one before. */
  | { readonly decision: 'one commit back'; readonly why: string }
  | { readonly decision: 'complete'; readonly why: string }
  | { readonly decision: 'give up'; readonly why: string; readonly type: string };

/** Of a generation that broke when its last iteration was committed: whatever ended it takes nothing away. */
export const COMPLETE: Verdict = {
  decision: 'complete',
  why: 'Training is complete: its last iteration is committed.',
};

/** Restarts that gained a commit are free; so many in a row that gained none end the run. */
export const RESTARTS_WITHOUT_PROGRESS = 3;

/** The commit from which a generation began, and where the one before it stands: 0 when there is none. */
export interface StepBack {
  readonly from: number;
  readonly to: number;
}

/** `back` is left out when the generation began at iteration 0, so that there is no commit to drop. */
export function judge(root: NodeFailure, restartsWithoutProgress: number, back?: StepBack): Verdict {
  const { gang: action, hostFault, remedy } = gangClass(root.type);
  const giveUp = (...why: readonly string[]): Verdict => ({
    ...{ decision: 'give up', type: root.type, why: why.filter((part) => part !== '').join(' ') },
  });
  if (action === 'one commit back' && back !== undefined) {
    const before =
      back.to === 0 ? 'no commit is left before it' : `the commit before it is iteration ${String(back.to)}`;
    const goesOn = back.to === 0 ? 'starts from the converted model' : 'goes on from there';
    return {
      decision: 'one commit back',
      why: `Drops the damaged commit of iteration ${String(back.from)}; ${before}: ${goesOn}.`,
    };
  }
  if (action === 'make again') return giveUp('What the gang reads is made again.', root.message);
  if (action === 'yield') return giveUp(root.message);
  if (action === 'stop') return giveUp('The same would happen again on any host.', root.message, remedy);
  if (restartsWithoutProgress >= RESTARTS_WITHOUT_PROGRESS)
    return {
      decision: 'give up',
      type: 'BudgetExhausted',
      why: [
        `${String(restartsWithoutProgress)} restarts in a row gained no checkpoint; the last ended on ${root.host}: ${root.message}`,
        remedy,
      ]
        .filter((part) => part !== '')
        .join(' '),
    };
  const elsewhere = hostFault === 'once' ? `, without ${root.host} if others are free` : '';
  return { decision: 'again', why: `Starts a new generation from the last committed checkpoint${elsewhere}.` };
}

/** What a broken gang means: one root among many echoes, and whether another generation is worth its hosts. */

import type { NotFinite } from './divergence.js';

/** How one node of a gang ended. */
export interface NodeFailure {
  readonly host: string;
  readonly nodeRank: number;
  /** A failure type of the contract, or `HostLost` when nobody answers for the host. */
  readonly type: string;
  readonly message: string;
  /** How far the node's trainer had come by its own words; left out when nobody can tell. */
  readonly iteration?: number;
  /** Of a training whose loss became no number. */
  readonly notFinite?: NotFinite;
}

/** A reset connection is an echo of somebody else's death; so is a rank that another's end took down, or that we stopped after it. */
const ECHOES: readonly string[] = ['PeerLost', 'Stopped', 'StaleGeneration'];

export function isEcho(type: string): boolean {
  return ECHOES.includes(type);
}

/** The failure that explains the others: a lost host first, then any that is no echo, then the first. */
export function rootCause(failures: readonly NodeFailure[]): NodeFailure | undefined {
  return failures.find(({ type }) => type === 'HostLost') ?? failures.find(({ type }) => !isEcho(type)) ?? failures[0];
}

export type Verdict =
  | { readonly decision: 'again'; readonly why: string }
  /** The commit that was to be restored is damaged: drop it and take the one before. */
  | { readonly decision: 'one commit back'; readonly why: string }
  | { readonly decision: 'give up'; readonly why: string; readonly type: string };

/** Restarts that gained a commit are free; so many in a row that gained none end the run. */
export const RESTARTS_WITHOUT_PROGRESS = 3;

/** Failures that the same input meets again on any host: the user has to act. */
const FOR_THE_USER: readonly string[] = ['OutOfMemory', 'LossDiverged', 'SpecInvalid', 'RefusedArguments'];
/** Another generation reads the same files: what they are made from has to be made again first. */
const FOR_THE_CHAIN: readonly string[] = ['ArtifactCorrupt'];
/** Another writer has this run's log: this one must stop at once. */
const FENCED: readonly string[] = ['FactConflict'];

/** The commit from which a generation began, and where the one before it stands: 0 when there is none. */
export interface StepBack {
  readonly from: number;
  readonly to: number;
}

/** `back` is left out when the generation began at iteration 0, so that there is no commit to drop. */
export function judge(root: NodeFailure, restartsWithoutProgress: number, back?: StepBack): Verdict {
  if (root.type === 'CheckpointDamaged' && back !== undefined) {
    const before =
      back.to === 0 ? 'no commit is left before it' : `the commit before it is iteration ${String(back.to)}`;
    const goesOn = back.to === 0 ? 'starts from the converted model' : 'goes on from there';
    return {
      decision: 'one commit back',
      why: `Drops the damaged commit of iteration ${String(back.from)}; ${before}: ${goesOn}.`,
    };
  }
  if (FOR_THE_CHAIN.includes(root.type))
    return { decision: 'give up', type: root.type, why: `What the gang reads is made again. ${root.message}` };
  if (FENCED.includes(root.type)) return { decision: 'give up', type: root.type, why: root.message };
  if (FOR_THE_USER.includes(root.type))
    return { decision: 'give up', type: root.type, why: `The same would happen again on any host. ${root.message}` };
  if (restartsWithoutProgress >= RESTARTS_WITHOUT_PROGRESS)
    return {
      decision: 'give up',
      type: 'BudgetExhausted',
      why: `${String(restartsWithoutProgress)} restarts in a row gained no checkpoint; the last ended on ${root.host}: ${root.message}`,
    };
  return { decision: 'again', why: 'Starts a new generation from the last committed checkpoint.' };
}

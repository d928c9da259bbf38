/** What a broken gang means: one root among many echoes, and whether another generation is worth its hosts. */

/** How one node of a gang ended. */
export interface NodeFailure {
  readonly host: string;
  readonly nodeRank: number;
  /** A failure type of the contract, or `HostLost` when nobody answers for the host. */
  readonly type: string;
  readonly message: string;
}

/** A reset connection is an echo of somebody else's death; so is a rank that another's end took down. */
const ECHOES: readonly string[] = ['PeerLost', 'Stopped'];

/** The failure that explains the others: a lost host first, then any that is no echo, then the first. */
export function rootCause(failures: readonly NodeFailure[]): NodeFailure | undefined {
  return (
    failures.find(({ type }) => type === 'HostLost') ??
    failures.find(({ type }) => !ECHOES.includes(type)) ??
    failures[0]
  );
}

export type Verdict =
  | { readonly decision: 'again'; readonly why: string }
  | { readonly decision: 'give up'; readonly why: string; readonly type: string };

/** Restarts that gained a commit are free; so many in a row that gained none end the run. */
export const RESTARTS_WITHOUT_PROGRESS = 3;

/** Failures that the same input meets again on any host: the user has to act. */
const FOR_THE_USER: readonly string[] = ['OutOfMemory', 'LossDiverged', 'SpecInvalid', 'RefusedArguments'];

export function judge(root: NodeFailure, restartsWithoutProgress: number): Verdict {
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

/** What the answers of a gang's hosts mean: who is lost, and when nobody can be called lost. */

/** One turn of asking all hosts of a gang. */
export interface ProbeTurn {
  /** By node rank. */
  readonly answered: readonly boolean[];
  /** Whether the cluster hears of other hosts; asked only when nobody has answered. */
  readonly othersLive: boolean;
}

export type ProbeVerdict =
  /** Node ranks of the hosts that are lost; the others live. */
  | { readonly kind: 'known'; readonly lost: readonly number[] }
  | { readonly kind: 'ask again'; readonly pauseSeconds: number }
  /** A fault of the control plane outlasts our patience, which is that of a trainer's lease. */
  | { readonly kind: 'all silent' };

/** Hosts that are heard of otherwise may have been cut off a moment ago: the pool takes twenty seconds to notice. */
const TURNS_TO_BELIEVE_OTHERS = 3;
/** Ever longer, so that a gang of a thousand hosts does not fill its history: about ten minutes in all. */
const FIRST_PAUSE_SECONDS = 5;
const LONGEST_PAUSE_SECONDS = 60;
const PATIENCE_TURNS = 14;

/**
 * Who does not answer while others do is lost. While nobody does, that is no evidence against any host: unless the cluster hears of other
 * hosts all the time. After such a silence those who come back first are no measure for the rest, so all are asked once more.
 */
export function judgeProbe(turns: readonly ProbeTurn[]): ProbeVerdict {
  const last = turns.at(-1);
  if (last === undefined) return { kind: 'ask again', pauseSeconds: 0 };
  const lost = last.answered.flatMap((answered, nodeRank) => (answered ? [] : [nodeRank]));
  const isSilent = (turn: ProbeTurn | undefined): boolean => turn !== undefined && !turn.answered.includes(true);
  if (lost.length === 0) return { kind: 'known', lost };
  if (!isSilent(last)) {
    if (isSilent(turns.at(-2))) return { kind: 'ask again', pauseSeconds: FIRST_PAUSE_SECONDS };
    return { kind: 'known', lost };
  }
  if (last.othersLive && turns.length >= TURNS_TO_BELIEVE_OTHERS) return { kind: 'known', lost };
  if (turns.length >= PATIENCE_TURNS) return { kind: 'all silent' };
  return {
    kind: 'ask again',
    pauseSeconds: Math.min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (turns.length - 1)),
  };
}

/** A rank of a gang that hangs, as its host sees it. */
export interface SeenRank {
  readonly nodeRank: number;
  readonly rank: number;
  readonly state: string;
  readonly stacks: string;
}

/** States in which a process does nothing whatever the others do; the rest may well wait for it. */
const STUCK: readonly string[] = ['stopped', 'traced', 'in a driver'];

/** The node that keeps the others waiting, when exactly one can be told. */
export function suspect(ranks: readonly SeenRank[]): number | undefined {
  const nodes = new Set(ranks.filter(({ state }) => STUCK.includes(state)).map(({ nodeRank }) => nodeRank));
  return nodes.size === 1 ? [...nodes][0] : undefined;
}

/** Few are named: a gang may have thousands. */
const NAMED = 4;

/** Which ranks are stuck, and what came of the stacks. */
export function stacksSentence(ranks: readonly SeenRank[]): string {
  const stuck = ranks.filter(({ state }) => STUCK.includes(state));
  const named = stuck.slice(0, NAMED).map(({ rank, state }) => `rank ${String(rank)} is ${state}`);
  const more = stuck.length > NAMED ? ` and ${String(stuck.length - NAMED)} more` : '';
  const taken = ranks.filter(({ stacks }) => !stacks.startsWith('none')).length;
  const first = named.length === 0 ? '' : `${named.join(', ')}${more}. `;
  const upper = first.charAt(0).toUpperCase() + first.slice(1);
  return `${upper}Stacks of ${String(taken)} of ${String(ranks.length)} ranks are in the run's logs.`;
}

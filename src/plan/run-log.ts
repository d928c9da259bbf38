/** The run's log: one create-once fact each. What a run reads is the fold of these, never a listing of the store. */

/** A set of files in the store, by the digest of its manifest. */
interface CheckpointRef {
  readonly prefix: string;
  readonly manifestKey: string;
  readonly digest: string;
}

export type RunFact =
  /** A gang begins: `generation` is unique for the life of the run id, since its number in the log is. */
  | {
      readonly fact: 'open';
      readonly generation: number;
      readonly fromIteration: number;
      readonly hosts: readonly string[];
      /** Of the training: a run that retries this one may go on from its commits if it has the same. */
      readonly stageKey?: string;
    }
  /** The files of this iteration are in the store, verified. */
  | {
      readonly fact: 'commit';
      /** 0: of another run, which this one retries. */
      readonly generation: number;
      readonly iteration: number;
      readonly checkpoint: CheckpointRef;
    }
  /** A commit that must no longer be read. Files of one that is only too old are deleted; damaged ones stay as evidence. */
  | {
      readonly fact: 'drop';
      readonly generation: number;
      readonly iteration: number;
      readonly reason: 'too old' | 'damaged';
      readonly why: string;
    };

export type Drop = Extract<RunFact, { fact: 'drop' }>;

export interface Commit {
  readonly generation: number;
  readonly iteration: number;
  readonly checkpoint: CheckpointRef;
}

export interface RunLog {
  readonly nextNumber: number;
  /** The highest generation that was opened; 0 before the first. */
  readonly generation: number;
  /** Its hosts, by node rank. */
  readonly hosts: readonly string[];
  /** Commits that may be read, oldest first. */
  readonly commits: readonly Commit[];
}

export const EMPTY_RUN_LOG: RunLog = { nextNumber: 1, generation: 0, hosts: [], commits: [] };

/**
 * Adds one fact. A roll-back makes iterations return: a commit of a later generation at or below an earlier one's
 * iteration stands beside it, and the newest generation's is the one to go on from.
 */
export function foldFact(log: RunLog, fact: RunFact): RunLog {
  const nextNumber = log.nextNumber + 1;
  switch (fact.fact) {
    case 'open':
      if (fact.generation < log.generation) return { ...log, nextNumber };
      return { ...log, nextNumber, generation: fact.generation, hosts: fact.hosts };
    case 'commit': {
      const { generation, iteration, checkpoint } = fact;
      return { ...log, nextNumber, commits: [...log.commits, { generation, iteration, checkpoint }] };
    }
    case 'drop':
      return { ...log, nextNumber, commits: log.commits.filter((commit) => !isSame(commit, fact)) };
  }
}

export function foldRunLog(facts: readonly RunFact[]): RunLog {
  return facts.reduce(foldFact, EMPTY_RUN_LOG);
}

/** Where training goes on: the last commit that still stands. */
export function lastCommit(log: RunLog): Commit | undefined {
  return log.commits.at(-1);
}

/** Commits beyond the last `keep`, oldest first. The last one is never among them: training goes on from it. */
export function tooOld({ commits }: RunLog, keep: number): readonly Commit[] {
  return commits.slice(0, -Math.max(1, keep));
}

function isSame(commit: Commit, fact: { readonly generation: number; readonly iteration: number }): boolean {
  return commit.generation === fact.generation && commit.iteration === fact.iteration;
}

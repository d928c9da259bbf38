/** What follows when a generation ends before the last iteration: which commit is next, whether another one is worth it, and what it cost. */
import { ApplicationFailure, isCancellation } from '@temporalio/workflow';
import { movedBy, withIncident } from '../contract/gang-story.js';
import type { Incident, TrainGangInput } from '../contract/messages.js';
import { incidentFolder } from '../contract/store-keys.js';
import type { DivergenceVerdict } from '../plan/divergence.js';
import type { Commit } from '../plan/run-log.js';
import { COMPLETE, isEcho, judge, rootCause, type NodeFailure, type Verdict } from '../plan/verdict.js';
import { verifying } from './activities.js';
import type { Divergences } from './divergences.js';
import { GangBroken, HostDrained, type Reached } from './gang.js';
import type { GangLog } from './gang-log.js';
import type { GangView } from './gang-view.js';

export interface Recovering {
  readonly input: TrainGangInput;
  readonly view: GangView;
  readonly log: GangLog;
  readonly divergences: Divergences;
  readonly reached: Reached;
  readonly ports: Set<number>;
}

/** The generation that has ended. */
interface Ended {
  readonly generation: number;
  readonly from: Commit | undefined;
}

export class Recovery {
  private readonly of: Recovering;
  /** Bounded by the verdict: restarts that gain no commit are counted and few. */
  private restartsWithoutProgress = 0;
  private remembered = 0;
  private unfit: readonly string[] = [];

  constructor(of: Recovering) {
    this.of = of;
  }

  get incidents(): number {
    return this.remembered;
  }

  /** Found so since the last generation that gained a commit; it may have been mended since. */
  get unfitHosts(): readonly string[] {
    return this.unfit;
  }

  private get isComplete(): boolean {
    const { log, input } = this.of;
    return log.lastCommit !== undefined && isEnd(log.lastCommit, input);
  }

  /** A training that was complete before is asked for again because its checkpoint may be damaged; the one before may be whole. */
  async dropDamagedEnd(): Promise<void> {
    const { input, log } = this.of;
    for (let last = log.lastCommit; last !== undefined && isEnd(last, input); last = log.lastCommit) {
      const { findDamage } = verifying(input.cluster, `is iteration ${String(last.iteration)} whole?`);
      const why = await findDamage({ fileSet: last.checkpoint });
      if (why === null) return;
      await log.dropDamaged(last, why);
      const iterationsLost = last.iteration - log.committedIteration;
      const decision = `Drops this commit, and trains ${String(iterationsLost)} iterations again.`;
      this.remember({
        ...{ at: Date.now(), generation: last.generation, host: 'the store', failure: 'CheckpointDamaged' },
        ...{ message: why, decision, iterationsLost },
      });
    }
  }

  /** Returns when another generation may begin; throws what ends the training. */
  async after(error: unknown, ended: Ended): Promise<void> {
    const { view, reached } = this.of;
    if (error instanceof HostDrained) {
      const drain = { host: error.drain.host, why: error.message, at: error.at };
      this.remember(movedBy(drain, view.state, reached.here, Date.now()));
      return;
    }
    if (isCancellation(error) || !(error instanceof GangBroken)) throw error;
    const root = rootCause(error.failures);
    if (root === undefined) throw error;
    // Who loses a peer that has done its work and left has lost nothing.
    if (this.isComplete && isEcho(root.type)) return;
    const gained = this.of.log.committedIteration > (ended.from?.iteration ?? 0);
    this.unfit = gained ? [] : [...new Set([...this.unfit, ...unfitAmong(error.failures)])];
    const verdict = await this.decide(root, ended, gained);
    this.remember(this.incidentOf(error, root, ended, verdict.why));
    if (verdict.decision === 'give up')
      throw ApplicationFailure.nonRetryable(verdict.why, verdict.type, view.state.incidents.slice(-10));
  }

  /** Drops what the verdict says must not be read again, and counts the restart where it is one. */
  private async decide(root: NodeFailure, { from }: Ended, gained: boolean): Promise<Verdict | DivergenceVerdict> {
    const { log, divergences, reached } = this.of;
    const back =
      gained || from === undefined ? undefined : { from: from.iteration, to: log.now.commits.at(-2)?.iteration ?? 0 };
    const verdict =
      divergences.judge(root, log.now, reached.here) ??
      (this.isComplete ? COMPLETE : judge(root, gained ? 0 : this.restartsWithoutProgress + 1, back));
    // Bounded: every step back drops a commit, and there are finitely many; or it is paid for by progress. It is no restart.
    if (verdict.decision === 'before the bad iteration')
      for (const one of verdict.drop) await log.dropDamaged(one, root.message);
    else if (verdict.decision === 'one commit back' && from !== undefined) await log.dropDamaged(from, root.message);
    else this.restartsWithoutProgress = gained ? 0 : this.restartsWithoutProgress + 1;
    return verdict;
  }

  private incidentOf(
    { failures, foundAt, hasEvidence }: GangBroken,
    root: NodeFailure,
    ended: Ended,
    decision: string,
  ): Incident {
    const { input, log, divergences, reached } = this.of;
    // Of an echo alone, or a host that nobody heard, the first of all is as near as anybody can tell.
    const since = root.since ?? Math.min(...failures.flatMap((one) => one.since ?? []));
    // Who reports a loss that is no number is not always where it began.
    const host = (root.type === 'LossDiverged' ? divergences.suspects[0] : undefined) ?? root.host;
    return {
      ...{ at: foundAt, generation: ended.generation, host, failure: root.type, message: root.message },
      ...(hasEvidence ? { evidence: incidentFolder(input.runId, ended.generation) } : {}),
      ...(since <= foundAt ? { secondsToDetect: (foundAt - since) / 1000 } : {}),
      secondsToDecide: (Date.now() - foundAt) / 1000,
      decision,
      iterationsLost: Math.max(0, reached.here - log.committedIteration),
    };
  }

  private remember(incident: Incident): void {
    const { view } = this.of;
    this.remembered += 1;
    view.show(withIncident(view.state, incident));
    view.tell();
  }
}

function unfitAmong(failures: readonly NodeFailure[]): readonly string[] {
  return failures.filter(({ type }) => type === 'HostUnfit' || type === 'GangUnfit').map(({ host }) => host);
}

export function isEnd({ iteration }: Commit, { opening }: TrainGangInput): boolean {
  return iteration >= opening.iterations;
}

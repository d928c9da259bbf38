/** The run's log in the hands of its only writer: numbered facts, and what belongs together is one event. */
import { CancellationScope } from '@temporalio/workflow';
import type { CompleteSave } from '../contract/activities.js';
import type { TrainGangInput } from '../contract/messages.js';
import {
  foldFact,
  foldRunLog,
  lastCommit,
  tooOld,
  type Commit,
  type Drop,
  type RunFact,
  type RunLog,
} from '../plan/run-log.js';
import { control, writing } from './activities.js';
import type { GangView } from './gang-view.js';

export class GangLog {
  private readonly of: Pick<TrainGangInput, 'runId' | 'cluster'>;
  private readonly view: GangView;
  private folded: RunLog;

  private constructor(of: TrainGangInput, view: GangView, facts: readonly RunFact[]) {
    this.of = of;
    this.view = view;
    this.folded = foldRunLog(facts);
  }

  static async read(of: TrainGangInput, view: GangView): Promise<GangLog> {
    const { runId, cluster } = of;
    const facts = await control(cluster, 'what this run has committed').readRunLog({ runId });
    return new GangLog(of, view, facts);
  }

  /** As far as it is written. */
  get now(): RunLog {
    return this.folded;
  }

  get isEmpty(): boolean {
    return this.folded.nextNumber === 1;
  }

  get lastCommit(): Commit | undefined {
    return lastCommit(this.folded);
  }

  /** 0 before the first commit, and when all are dropped. */
  get committedIteration(): number {
    return this.lastCommit?.iteration ?? 0;
  }

  /** What belongs together goes together, and news that the run hears with it. */
  async append(...facts: readonly RunFact[]): Promise<void> {
    const { of, folded } = this;
    const { runId, cluster } = of;
    const next = facts.reduce(foldFact, folded);
    // Never cut: what stands in the store must stand in our log, or the next fact would meet its number.
    await CancellationScope.nonCancellable(() =>
      this.view.carry({ committedIteration: lastCommit(next)?.iteration ?? 0 }, (news) =>
        writing(cluster, facts.map(factWords).join(', ')).appendRunFacts({
          runId,
          number: folded.nextNumber,
          facts,
          news,
        }),
      ),
    );
    this.folded = next;
  }

  /** Drops what is too old by it in the same event. */
  async commit({ iteration, checkpoint }: CompleteSave, generation: number, keep: number): Promise<void> {
    const fact: RunFact = { fact: 'commit', generation, iteration, checkpoint };
    const old = tooOld(foldFact(this.folded, fact), keep);
    await this.append(fact, ...old.map((one) => dropOf(one, 'too old', `Only the last ${String(keep)} are kept.`)));
  }

  async dropDamaged(commit: Commit, why: string): Promise<void> {
    await this.append(dropOf(commit, 'damaged', why));
  }
}

function dropOf({ generation, iteration }: Commit, reason: Drop['reason'], why: string): RunFact {
  return { fact: 'drop', generation, iteration, reason, why };
}

/** As the Temporal UI shows it. */
function factWords(fact: RunFact): string {
  const what = fact.fact === 'open' ? `from ${String(fact.fromIteration)}` : String(fact.iteration);
  return `${fact.fact} g${String(fact.generation)} ${what}`;
}

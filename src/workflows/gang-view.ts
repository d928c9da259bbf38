/** The gang's state, kept in one place: for its query, its page and its search attributes, and for its run, which is told what has changed. */
import { CancellationScope, setCurrentDetails } from '@temporalio/workflow';
import type { GangNews, GangState } from '../contract/gang.js';
import type { TrainGangInput } from '../contract/messages.js';
import { writing } from './activities.js';
import { gangPage } from './gang-page.js';
import { newGang } from '../contract/gang-story.js';
import { countIncidents } from './incident-metrics.js';

export class GangView {
  state: GangState;
  private readonly of: Pick<TrainGangInput, 'runId' | 'cluster'>;
  private untold: Partial<GangState> = {};
  /** News go one after the other, so that the run hears them in order. */
  private telling: Promise<void> = Promise.resolve();

  constructor(of: TrainGangInput) {
    this.of = of;
    this.state = newGang(of.opening.iterations);
  }

  show(change: Partial<GangState>): void {
    this.untold = { ...this.untold, ...change };
    this.take(change);
  }

  /** Tells the run what it does not know yet. A cancelled gang tells how it ended, too. */
  async tell(): Promise<void> {
    const { runId, cluster } = this.of;
    await this.carry({}, (news) =>
      CancellationScope.nonCancellable(() => writing(cluster, 'tell the run').tellRun({ runId, news })),
    );
  }

  /** Shows a change once `send` has done what it stands for; `send` takes along all that the run does not know yet. */
  async carry(change: Partial<GangState>, send: (news: GangNews) => Promise<void>): Promise<void> {
    const sending = this.telling.then(async () => {
      const { generation, committedIteration } = this.state;
      const news = { generation, committedIteration, ...this.untold, ...change };
      this.untold = {};
      await send(news);
    });
    this.telling = sending.catch(() => undefined);
    await sending;
    this.take(change);
  }

  private take(change: Partial<GangState>): void {
    const { incidents } = this.state;
    this.state = { ...this.state, ...change };
    countIncidents(incidents, this.state.incidents);
    setCurrentDetails(gangPage(this.state));
  }
}

/** The gang's state, kept in one place: for its query, its page and its search attributes, and for its run, which is told what has changed. */
import { CancellationScope, setCurrentDetails, sleep } from '@temporalio/workflow';
import type { GangNews, GangState } from '../contract/gang.js';
import type { TrainGangInput } from '../contract/messages.js';
import { writing } from './activities.js';
import { gangPage } from './gang-page.js';
import { newGang } from '../contract/gang-story.js';
import { countIncidents } from './incident-metrics.js';

/** A recovery has a fact to write within it, which takes the news along: telling apart would only keep that fact waiting. */
const SOON = '1 second';

export class GangView {
  state: GangState;
  private readonly of: Pick<TrainGangInput, 'runId' | 'cluster'>;
  private untold: Partial<GangState> = {};
  /** News go one after the other, so that the run hears them in order. */
  private telling: Promise<void> = Promise.resolve();
  private soon: CancellationScope | undefined;

  constructor(of: TrainGangInput) {
    this.of = of;
    this.state = newGang(of.opening.iterations);
  }

  show(change: Partial<GangState>): void {
    this.untold = { ...this.untold, ...change };
    this.take(change);
  }

  /** Has the run told what it does not know yet, within a second and beside whatever goes on. */
  tell(): void {
    if (this.soon !== undefined) return;
    CancellationScope.nonCancellable(async () => {
      this.soon = new CancellationScope();
      await this.soon.run(() => sleep(SOON));
      this.soon = undefined;
      await this.told();
    }).catch(() => {
      // A fact has taken the news along; or they could not be told, and are still there for whoever tells next.
    });
  }

  /** Until the run knows all. A cancelled gang tells how it ended, too. */
  async told(): Promise<void> {
    const { runId, cluster } = this.of;
    await this.telling;
    if (Object.keys(this.untold).length === 0) return;
    await this.carry({}, (news) =>
      CancellationScope.nonCancellable(() => writing(cluster, 'tell the run').tellRun({ runId, news })),
    );
  }

  /** Shows a change once `send` has done what it stands for; `send` takes along all that the run does not know yet. */
  async carry(change: Partial<GangState>, send: (news: GangNews) => Promise<void>): Promise<void> {
    const sending = this.telling.then(async () => {
      const { generation, committedIteration } = this.state;
      const news = { generation, committedIteration, ...this.untold, ...change };
      const { untold } = this;
      this.untold = {};
      this.soon?.cancel();
      this.soon = undefined;
      try {
        await send(news);
      } catch (error) {
        this.untold = { ...untold, ...this.untold };
        throw error;
      }
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

/** A gang's pause: what runs is cancelled, so that its trainers save and its hosts go back, and nothing begins until the pause is over. */
import { CancellationScope, condition, defineSignal, isCancellation, setHandler } from '@temporalio/workflow';
import { SIGNALS, type Asked } from '../contract/messages.js';
import { sayPaused } from '../plan/run-requests.js';
import type { GangView } from './gang-view.js';

const gangPaused = defineSignal<[Asked | null]>(SIGNALS.gangPaused);

export class GangPause {
  private paused: Asked | null = null;
  private scope = new CancellationScope();

  constructor() {
    setHandler(gangPaused, (paused) => {
      this.paused = paused;
      if (paused !== null) this.scope.cancel();
    });
  }

  /** Returns at once while there is no pause. */
  async over(view: GangView): Promise<void> {
    // Who resumes and pauses again in one breath finds it paused still.
    while (this.paused !== null) {
      view.show({ phase: 'paused', hosts: [], warnings: [], note: sayPaused(this.paused), pace: null });
      view.tell();
      await condition(() => this.paused === null);
      view.show({ note: '' });
    }
  }

  /** Does the work, or as much of it as there was time for before a pause. */
  async unlessPaused(work: () => Promise<void>): Promise<void> {
    this.scope = new CancellationScope();
    if (this.paused !== null) return;
    try {
      await this.scope.run(work);
    } catch (error) {
      const isByPause = this.scope.consideredCancelled && !CancellationScope.current().consideredCancelled;
      if (!isByPause || !isCancellation(error)) throw error;
    }
  }
}

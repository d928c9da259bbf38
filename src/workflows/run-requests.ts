/** What people ask of a run while it goes. A stop is a cancel that the run itself asks for; a pause lets nothing new begin. */
import {
  ApplicationFailure,
  CancellationScope,
  condition,
  defineSignal,
  defineUpdate,
  setHandler,
  type ChildWorkflowHandle,
  type Workflow,
} from '@temporalio/workflow';
import { SIGNALS, UPDATES, type Asked, type RunRequest } from '../contract/messages.js';
import type { StageName } from '../plan/plan.js';
import { refusePause, refuseResume, sayPaused } from '../plan/run-requests.js';
import type { RunView } from './run-view.js';

const stopRun = defineUpdate<Asked, [RunRequest]>(UPDATES.stopRun);
const pauseRun = defineUpdate<Asked, [RunRequest]>(UPDATES.pauseRun);
const resumeRun = defineUpdate<Asked, [RunRequest]>(UPDATES.resumeRun);
const gangPaused = defineSignal<[Asked | null]>(SIGNALS.gangPaused);

export class RunRequests {
  private readonly view: RunView;
  private readonly scope = new CancellationScope();

  constructor(view: RunView) {
    this.view = view;
    const { runId } = view.state;
    setHandler(stopRun, (request) => {
      // Who asks first is named; asked again it is the same stop.
      const stopped = view.state.stopped ?? asked(request);
      view.asked({ stopped });
      this.scope.cancel();
      return stopped;
    });
    setHandler(
      pauseRun,
      (request) => {
        const paused = asked(request);
        view.asked({ paused });
        return paused;
      },
      { validator: (_: RunRequest) => refuse(refusePause(view.state, runId)) },
    );
    setHandler(
      resumeRun,
      (request) => {
        view.asked({});
        return asked(request);
      },
      { validator: (_: RunRequest) => refuse(refuseResume(view.state, runId)) },
    );
  }

  /** Work that ends in a cancellation when the run is asked to stop. */
  stoppable<Result>(work: () => Promise<Result>): Promise<Result> {
    return this.scope.run(work);
  }

  /** Between two stages: waits for as long as the run is paused. */
  async whilePaused(before: StageName): Promise<void> {
    const { paused } = this.view.state;
    if (paused === undefined) return;
    this.view.show(before, { note: `Waits: ${sayPaused(paused)}` });
    await condition(() => this.view.state.paused === undefined);
    this.view.show(before, { note: '' });
  }

  /** For as long as `work` takes, the gang is told of each pause and of its end, one after the other. */
  async tellingGang<Result>(
    gang: Pick<ChildWorkflowHandle<Workflow>, 'signal'>,
    work: () => Promise<Result>,
  ): Promise<Result> {
    const { view } = this;
    const scope = new CancellationScope();
    const telling = scope.run(async () => {
      for (let told: Asked | undefined; ;) {
        await condition(() => view.state.paused !== told);
        told = view.state.paused;
        await gang.signal(gangPaused, told ?? null);
      }
    });
    // A gang that has ended meanwhile needs no word.
    telling.catch(() => undefined);
    try {
      return await work();
    } finally {
      scope.cancel();
    }
  }
}

function asked({ by, why }: RunRequest): Asked {
  return { by, why, at: Date.now() };
}

function refuse(sentence: string | undefined): void {
  if (sentence !== undefined) throw ApplicationFailure.nonRetryable(sentence, 'RequestRefused');
}

/** What a terminal shows of a run that goes on: a line with a bar for each stage that runs, and one for its gang. */
import type { RunEvent } from '../client/index.js';
import { showProgress } from './show-event.js';

type Progress = Extract<RunEvent, { type: 'progress' }>;
type Stage = Progress['stage'];

export class RunScreen {
  /** Running stages in the order of their beginning; undefined until they have said something. */
  private readonly running = new Map<Stage, Progress | undefined>();

  take(event: RunEvent): void {
    switch (event.type) {
      case 'stage-started':
        this.running.set(event.stage, undefined);
        break;
      case 'progress':
        this.running.set(event.stage, event);
        break;
      case 'stage-done':
      case 'stage-reused':
      case 'stage-failed':
      case 'stage-stopped':
        this.running.delete(event.stage);
        break;
      case 'outcome':
        this.running.clear();
        break;
      case 'incident':
      case 'recovered':
      case 'handover':
      case 'retry':
      case 'waiting':
    }
  }

  lines(columns: number): readonly string[] {
    return [...this.running].flatMap(([stage, progress]) =>
      progress === undefined ? [`  ${stage.padEnd(8)} …`] : showProgress(progress, columns),
    );
  }
}

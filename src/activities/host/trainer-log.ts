/** Follows a trainer's output: the last lines as evidence, and what they say of its progress. */
import type { Backend } from '../../backends/backend.js';
import type { TrainProgress } from '../../contract/activities.js';
import { tailFile } from '../../process/log-tail.js';
import { monotonicSeconds } from '../../process/wait.js';

/** Enough for a traceback of every rank of a host and torchrun's report. */
const KEPT_LINES = 400;

export class TrainerLog {
  readonly lines: string[] = [];
  phase: TrainProgress['phase'] = 'starting';
  iteration: number;
  loss: number | undefined;
  private heardAt = monotonicSeconds();
  private readonly ending = new AbortController();
  private readonly tail: Promise<unknown>;

  constructor(path: string, backend: Backend, resumeIteration: number) {
    this.iteration = resumeIteration;
    this.tail = tailFile(path, {
      signal: this.ending.signal,
      lastLine: 'deliver',
      onLine: (line) => {
        this.hear(line, backend);
      },
    });
    // Looked at in `end`; without this a failing disk would end the agent.
    this.tail.catch(() => undefined);
  }

  get quietSeconds(): number {
    return Math.round(monotonicSeconds() - this.heardAt);
  }

  /** Reads what is left and stops; afterwards `lines` holds the last words. */
  async end(): Promise<void> {
    this.ending.abort();
    await this.tail;
  }

  private hear(line: string, backend: Backend): void {
    this.heardAt = monotonicSeconds();
    this.lines.push(line);
    if (this.lines.length > KEPT_LINES) this.lines.shift();
    const event = backend.parseLine(line);
    switch (event?.kind) {
      case 'iteration':
        this.phase = 'training';
        this.iteration = event.iteration;
        this.loss = event.loss;
        break;
      case 'saving':
        this.phase = 'saving';
        break;
      case 'saved':
        this.phase = 'training';
        break;
      case 'training-done':
        this.phase = 'done';
        break;
      default:
    }
  }
}

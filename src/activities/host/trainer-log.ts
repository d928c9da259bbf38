/** Follows a trainer's output: the last lines as evidence, and what they say of its progress. */
import { statSync } from 'node:fs';
import type { Backend, TrainerEvent } from '../../backends/backend.js';
import type { TrainerPhase } from '../../plan/hang.js';
import { tailFile } from '../../process/log-tail.js';
import { monotonicSeconds } from '../../process/wait.js';

/** Enough for a traceback of every rank of a host and torchrun's report. */
const KEPT_LINES = 400;
/** How often a trainer's words and saves are looked for: oftener costs the trainer more than anybody gains by hearing sooner. */
export const LOOK_MS = 500;
/** Iterations whose mean is the pace: enough to smooth one slow batch, few enough to follow a change. */
const PACE_ITERATIONS = 20;

export interface TrainerLogOptions {
  readonly path: string;
  readonly backend: Backend;
  readonly resumeIteration: number;
  /** Iterations beyond this one are new to the run. */
  readonly reachedIteration: number;
  /** An adopted trainer has said things before: when it said them is not known. */
  readonly isAdopted: boolean;
  /** After which iterations there is a save: only node 0 hears of it in words. */
  readonly saves: (iteration: number) => boolean;
}

export class TrainerLog {
  readonly lines: string[] = [];
  phase: TrainerPhase = 'starting';
  /** Grows with every step that the trainer makes, as opposed to what it only says. */
  moves = 0;
  iteration: number;
  loss: number | undefined;
  /** Epoch milliseconds at which the first iteration that is new to the run was heard; of an adopted trainer only what is heard live. */
  newIterationAt: number | undefined;
  private readonly saves: TrainerLogOptions['saves'];
  /**
   * Resolves when nothing good can come of the trainer any more though it lives: its loss is no number, so that whatever it saves is worth
   * nothing; or a rank of it has given up, and the others wait for that one.
   */
  readonly hopeless: Promise<void>;
  private isHopeless: () => void = () => undefined;
  private readonly paces: number[] = [];
  private heardAt = monotonicSeconds();
  private readonly ending = new AbortController();
  private readonly tail: Promise<unknown>;

  constructor({ path, backend, resumeIteration, reachedIteration, isAdopted, saves }: TrainerLogOptions) {
    this.iteration = resumeIteration;
    this.saves = saves;
    this.hopeless = new Promise((resolve) => (this.isHopeless = resolve));
    const oldBytes = isAdopted ? (statSync(path, { throwIfNoEntry: false })?.size ?? 0) : 0;
    let isKnown = false;
    this.tail = tailFile(path, {
      signal: this.ending.signal,
      pollMs: LOOK_MS,
      lastLine: 'deliver',
      onLine: (line, nextByte) => {
        this.hear(line, backend);
        if (isKnown || this.iteration <= reachedIteration) return;
        isKnown = true;
        if (nextByte > oldBytes) this.newIterationAt = Date.now();
      },
    });
    // Looked at in `end`; without this a failing disk would end the agent.
    this.tail.catch(() => undefined);
  }

  get quietSeconds(): number {
    return Math.round(monotonicSeconds() - this.heardAt);
  }

  get secondsPerIteration(): number | undefined {
    if (this.paces.length === 0) return undefined;
    return this.paces.reduce((sum, ms) => sum + ms, 0) / this.paces.length / 1000;
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
    if (backend.givesUp(line)) this.isHopeless();
    const event = backend.parseLine(line);
    const phase = event === undefined ? undefined : this.phaseAfter(event);
    if (event === undefined || phase === undefined) return;
    this.phase = phase;
    this.moves += 1;
    if (event.kind !== 'iteration') return;
    this.iteration = event.iteration;
    this.loss = event.loss;
    if (event.elapsedMs !== undefined) this.paces.push(event.elapsedMs);
    if (this.paces.length > PACE_ITERATIONS) this.paces.shift();
    if (event.diverged) this.isHopeless();
  }

  /** Undefined for what is no step of the trainer. */
  private phaseAfter(event: TrainerEvent): TrainerPhase | undefined {
    switch (event.kind) {
      case 'iteration':
        return this.saves(event.iteration) ? 'saving' : 'training';
      case 'saving':
        return 'saving';
      case 'saved':
        return this.phase === 'done' ? 'done' : 'training';
      case 'training-done':
        return 'done';
      case 'loaded':
        return 'restoring';
      case 'phase':
        return PHASES[event.phase];
      default:
        return undefined;
    }
  }
}

/** What follows a marker of node 0. */
const PHASES: Readonly<Record<Extract<TrainerEvent, { kind: 'phase' }>['phase'], TrainerPhase>> = {
  initialized: 'restoring',
  'building model': 'restoring',
  'model built': 'restoring',
  'data loaders built': 'restoring',
  'set up': 'first iteration',
  training: 'first iteration',
  'first step': 'first iteration',
};

/** One run by its id: its state, its result, its events, its loss record, and what may be asked of it. */
import { type Client, WorkflowFailedError } from '@temporalio/client';
import { ApplicationFailure, CancelledFailure, TerminatedFailure } from '@temporalio/common';
import {
  type Asked,
  type FineTuneResult,
  type Incident,
  type RunResult,
  type RunState,
  UPDATES,
} from '../contract/messages.js';
import { runWorkflowId } from '../contract/names.js';
import { sayStopped } from '../plan/run-requests.js';
import { readIncidents } from '../records/incidents.js';
import type { Place } from './connect.js';
import { RunFailedError } from './errors.js';
import type { RunEvent, Snapshot } from './events.js';
import { describeRun, lookAt } from './look.js';
import { metricsOf, type RunMetrics } from './metrics.js';
import { askOfRun, type RequestOptions } from './requests.js';
import { openStore } from './store.js';
import { watchRun, type Ending, type WatchOptions } from './watch.js';

export class RunHandle {
  readonly runId: string;
  /** Whether the run was there before this call; always true for a handle from `get`. */
  readonly existed: boolean;
  readonly #client: Client;
  readonly #place: Place;

  constructor(client: Client, place: Place, runId: string, existed: boolean) {
    this.#client = client;
    this.#place = place;
    this.runId = runId;
    this.existed = existed;
  }

  get workflowId(): string {
    return runWorkflowId(this.runId);
  }

  /** Waits for the end. Throws RunFailedError when the run ended without a result; `failure` is `Stopped` when it was asked to. */
  async result(): Promise<FineTuneResult> {
    await describeRun(this.#client, this.runId);
    const result = await this.#end();
    if (result.outcome !== 'stopped') return result;
    throw new RunFailedError('Stopped', `The run "${this.runId}" was ${sayStopped(result.stopped)}.`);
  }

  async #end(): Promise<RunResult> {
    try {
      return (await this.#client.workflow.getHandle(this.workflowId).result()) as RunResult;
    } catch (error) {
      if (error instanceof WorkflowFailedError) throw runFailed(this.runId, error);
      throw error;
    }
  }

  /**
   * Ends the run: trainers save at the next iteration, the save is committed, the hosts go back. Answers when the run has accepted
   * it, and the same again when asked again. Throws RequestRefusedError when the run has ended.
   */
  stop(request: RequestOptions = {}): Promise<Asked> {
    return askOfRun(this.#client, this.runId, UPDATES.stopRun, request);
  }

  /**
   * Lets the run wait until `resume`: a training saves, commits and gives its hosts back, any other stage ends first. Answers when
   * the run has accepted it. Throws RequestRefusedError when it is paused already or has ended.
   */
  pause(request: RequestOptions = {}): Promise<Asked> {
    return askOfRun(this.#client, this.runId, UPDATES.pauseRun, request);
  }

  /** Lets a paused run go on. Throws RequestRefusedError when it is not paused or has ended. */
  resume(request: RequestOptions = {}): Promise<Asked> {
    return askOfRun(this.#client, this.runId, UPDATES.resumeRun, request);
  }

  /** What the run does now; undefined while no control worker is there to tell. */
  async state(): Promise<RunState | undefined> {
    return (await this.snapshot())?.state;
  }

  /** As `state`, with the gang, its incidents, and what the running activities last said. */
  async snapshot(): Promise<Snapshot | undefined> {
    return (await lookAt(this.#client, this.runId)).snapshot;
  }

  /**
   * The loss record: each iteration once, exact, and what was rolled back marked so. Of a run that trains it is what has come
   * to the store so far. Throws StoreUnknownError when the client knows no store.
   */
  async metrics(): Promise<RunMetrics> {
    return metricsOf(this.#client, await openStore(this.#place), this.runId);
  }

  /** What broke the run's generations, from the store: all of it, also when Temporal has forgotten the run. As `metrics` otherwise. */
  async incidents(): Promise<readonly Incident[]> {
    return readIncidents(await openStore(this.#place), this.runId);
  }

  /** What happened so far and what happens, to the end. */
  watch(options: WatchOptions = {}): AsyncGenerator<RunEvent, void, undefined> {
    return watchRun({ client: this.#client, runId: this.runId, ending: () => this.#ending() }, options);
  }

  async #ending(): Promise<Ending> {
    try {
      const { outcome, baseAccuracy, accuracy, why } = await this.result();
      const message = `accuracy ${percent(baseAccuracy)} before, ${percent(accuracy)} after`;
      return { outcome, message: why === undefined ? message : `${message}. ${why}` };
    } catch (error) {
      if (!(error instanceof RunFailedError)) throw error;
      return { outcome: ENDED_ON_REQUEST.includes(error.failure) ? 'stopped' : 'failed', message: error.message };
    }
  }
}

/** By `stop`, or by a cancel in the Temporal UI. */
const ENDED_ON_REQUEST: readonly string[] = ['Stopped', 'Cancelled'];

const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;

/** The innermost failure is the one that says what happened; those around it only say that something did. */
function runFailed(runId: string, error: WorkflowFailedError): RunFailedError {
  let cause: Error | undefined = error.cause;
  while (cause?.cause instanceof Error) cause = cause.cause;
  if (cause instanceof CancelledFailure)
    return new RunFailedError('Cancelled', `The run "${runId}" was stopped.`, { cause: error });
  if (cause instanceof TerminatedFailure)
    return new RunFailedError('Terminated', `The run "${runId}" was ended from outside: ${cause.message}`, {
      cause: error,
    });
  const failure = cause instanceof ApplicationFailure ? (cause.type ?? 'Unknown') : 'Unknown';
  return new RunFailedError(failure, cause?.message ?? error.message, { cause: error });
}

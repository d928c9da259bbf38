/** Runs: start one (the same key starts it once), find it again, wait for it, watch it. */
import { createHash, randomUUID } from 'node:crypto';
import { type Client, WorkflowExecutionAlreadyStartedError, WorkflowFailedError } from '@temporalio/client';
import {
  ApplicationFailure,
  CancelledFailure,
  defineSearchAttributeKey,
  type SearchAttributePair,
  TerminatedFailure,
} from '@temporalio/common';
import {
  type Asked,
  type FineTuneInput,
  type FineTuneResult,
  type RunResult,
  type RunState,
  UPDATES,
  WORKFLOW_TYPES,
} from '../contract/messages.js';
import { controlQueue, runWorkflowId, type SearchAttributeName } from '../contract/names.js';
import { sayStopped } from '../plan/run-requests.js';
import { checkSpec } from '../spec/check.js';
import type { RunSpec, RunSpecInput } from '../spec/run.js';
import { KeyConflictError, RequestRefusedError, RunFailedError, SpecRefusedError } from './errors.js';
import type { RunEvent, Snapshot } from './events.js';
import type { Place } from './connect.js';
import { describeRun, lookAt } from './look.js';
import { metricsOf, type RunMetrics } from './metrics.js';
import { inputToRetry, retryId } from './retry.js';
import { listRuns, type RunListing } from './run-list.js';
import { askOfRun, type RequestOptions } from './requests.js';
import { openStore } from './store.js';
import { watchRun, type Ending, type WatchOptions } from './watch.js';

export interface StartOptions {
  /** The run's id: the same key twice is the same run. Left out, every start is a new run. */
  readonly key?: string;
  /** Folder that relative `file://` sources of the spec are relative to. */
  readonly folder?: string;
}

export interface RetryOptions extends StartOptions {
  /** Left out, that of the run that is retried. */
  readonly spec?: RunSpecInput | RunSpec;
}

/** A key is a run id: part of store keys and of workflow ids. */
const KEY = /^[a-z0-9](?:[a-z0-9._-]{0,98}[a-z0-9])?$/;

export class Runs {
  readonly #client: Client;
  readonly #place: Place;

  constructor(client: Client, place: Place) {
    this.#client = client;
    this.#place = place;
  }

  get #cluster(): string {
    return this.#place.cluster;
  }

  /** Checks the spec, starts its run and returns at once. Throws SpecRefusedError before anything is started. */
  async start(document: RunSpecInput | RunSpec, { key, folder }: StartOptions = {}): Promise<RunHandle> {
    const checked = checkSpec(document, folder === undefined ? {} : { folder });
    if ('refusals' in checked) throw new SpecRefusedError('The spec', checked.refusals);
    if (key !== undefined) checkKey(key);
    const { spec } = checked;
    const runId = key ?? `${spec.name}-${randomUUID().slice(0, 8)}`;
    return this.#begin({ runId, cluster: this.#cluster, spec }, key !== undefined);
  }

  /**
   * Starts a run that goes on where one has ended without a promotion, with its spec or a changed one: stages whose keys are the same
   * are reused, and a training that means the same goes on from the last commit. Throws RequestRefusedError for a run that goes on or
   * has ended well, SpecRefusedError, KeyConflictError.
   */
  async retry(runId: string, { spec: document, folder, key = retryId(runId) }: RetryOptions = {}): Promise<RunHandle> {
    const before = await inputToRetry(this.#client, runId);
    if (document !== undefined && before.retrain !== undefined)
      throw new RequestRefusedError(
        `The run "${runId}" was started by a schedule, which compares it with what its own spec has trained. Retry it without another spec, or change the schedule.`,
      );
    const checked = checkSpec(document ?? before.spec, folder === undefined ? {} : { folder });
    if ('refusals' in checked) throw new SpecRefusedError('The spec', checked.refusals);
    checkKey(key);
    return this.#begin({ ...before, runId: key, cluster: this.#cluster, spec: checked.spec, retries: runId }, true);
  }

  async #begin(input: FineTuneInput, hasKey: boolean): Promise<RunHandle> {
    const { runId, spec } = input;
    const submission = randomUUID();
    const specDigest = digestOfSpec(spec);
    try {
      await this.#client.workflow.start(WORKFLOW_TYPES.fineTune, {
        workflowId: runWorkflowId(runId),
        taskQueue: controlQueue(this.#cluster),
        args: [input],
        workflowIdConflictPolicy: 'USE_EXISTING',
        workflowIdReusePolicy: 'REJECT_DUPLICATE',
        typedSearchAttributes: searchAttributes(input),
        memo: { submission, specDigest },
        staticSummary: `${spec.name}: ${spec.model.preset ?? spec.model.family} on ${String(spec.layout.hosts)} hosts`,
      });
    } catch (error) {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    }
    const existed = !hasKey ? false : await this.#isOlder(runId, submission, specDigest);
    return new RunHandle(this.#client, this.#place, runId, existed);
  }

  /** A handle for a run that is already known by its id; does not look whether it exists. */
  get(runId: string): RunHandle {
    return new RunHandle(this.#client, this.#place, runId, true);
  }

  /** A run of exactly this spec that has not ended, if there is one; the newest. */
  async findRunning(document: RunSpecInput | RunSpec): Promise<RunHandle | undefined> {
    const checked = checkSpec(document);
    if ('refusals' in checked) return undefined;
    const digest = digestOfSpec(checked.spec);
    const found = (await this.list()).find(({ endedAt, specDigest }) => endedAt === null && specDigest === digest);
    return found === undefined ? undefined : this.get(found.runId);
  }

  /** Runs of this cluster, newest first. */
  list(options: { readonly limit?: number } = {}): Promise<readonly RunListing[]> {
    return listRuns(this.#client, this.#cluster, options);
  }

  async #isOlder(runId: string, submission: string, specDigest: string): Promise<boolean> {
    const { memo } = await describeRun(this.#client, runId);
    if (memo?.['submission'] === submission) return false;
    if (memo?.['specDigest'] !== undefined && memo['specDigest'] !== specDigest)
      throw new KeyConflictError(
        `The key "${runId}" already names a run of another spec. Use another key, or submit that spec.`,
      );
    return true;
  }
}

function checkKey(key: string): void {
  if (!KEY.test(key))
    throw new KeyConflictError(
      `The key "${key}" cannot be a run id: use 1 to 100 of a-z, 0-9, dot, dash and underscore.`,
    );
}

/** By its content, so that a submitted spec is known again. */
function digestOfSpec(spec: RunSpec): string {
  return createHash('sha256').update(JSON.stringify(spec)).digest('hex');
}

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

function searchAttributes({ runId, cluster, spec }: FineTuneInput): SearchAttributePair[] {
  const pair = (name: SearchAttributeName, value: string): SearchAttributePair => ({
    key: defineSearchAttributeKey(name, 'KEYWORD'),
    value,
  });
  return [
    pair('AnnealRun', runId),
    pair('AnnealName', spec.name),
    pair('AnnealModel', spec.publish.model),
    pair('AnnealCluster', cluster),
  ];
}

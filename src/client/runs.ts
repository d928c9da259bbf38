/** Runs: start one (the same key starts it once), find it again, list them, retry one that has ended. */
import { createHash, randomUUID } from 'node:crypto';
import { type Client, WorkflowExecutionAlreadyStartedError } from '@temporalio/client';
import { defineSearchAttributeKey, type SearchAttributePair } from '@temporalio/common';
import { type FineTuneInput, WORKFLOW_TYPES } from '../contract/messages.js';
import { controlQueue, runWorkflowId, type SearchAttributeName } from '../contract/names.js';
import { checkSpec } from '../spec/check.js';
import type { RunSpec, RunSpecInput } from '../spec/run.js';
import type { Place } from './connect.js';
import { KeyConflictError, RequestRefusedError, SpecRefusedError } from './errors.js';
import { describeRun } from './look.js';
import { inputToRetry, retryId } from './retry.js';
import { RunHandle } from './run-handle.js';
import { listRuns, type RunListing } from './run-list.js';

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
    const retriesBefore = [before.retries ?? [], before.retriesBefore ?? []].flat();
    const retrying = { retries: runId, ...(retriesBefore.length > 0 && { retriesBefore }) };
    return this.#begin({ ...before, runId: key, cluster: this.#cluster, spec: checked.spec, ...retrying }, true);
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

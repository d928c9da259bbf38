/** Schedules: retrains of a spec at set times, as Temporal Schedules whose action is the workflow `retrain`. */
import {
  type Client,
  ScheduleAlreadyRunning,
  type ScheduleHandle,
  ScheduleNotFoundError as TemporalScheduleNotFoundError,
  type ScheduleDescription,
  type ScheduleOverlapPolicy,
} from '@temporalio/client';
import { defineSearchAttributeKey, type SearchAttributePair } from '@temporalio/common';
import { refuseTrainFrom, type RetrainInput, type TrainFrom, WORKFLOW_TYPES } from '../contract/messages.js';
import { controlQueue, retrainWorkflowId, type SearchAttributeName } from '../contract/names.js';
import { checkSpec } from '../spec/check.js';
import type { RunSpec, RunSpecInput } from '../spec/run.js';
import { ScheduleExistsError, ScheduleNotFoundError, ScheduleRefusedError, SpecRefusedError } from './errors.js';
import { listRetrains, type RetrainListing } from './retrain-list.js';
import { durationMs, scheduleSpec, type Timetable } from './timetable.js';

/** What happens when it is time and the retrain before still runs: ours → Temporal's. */
const OVERLAPS = {
  skip: 'SKIP',
  'buffer-one': 'BUFFER_ONE',
  'buffer-all': 'BUFFER_ALL',
  'cancel-other': 'CANCEL_OTHER',
  'allow-all': 'ALLOW_ALL',
} as const satisfies Record<string, ScheduleOverlapPolicy>;
export type Overlap = keyof typeof OVERLAPS;
export const OVERLAP_NAMES = Object.keys(OVERLAPS) as readonly Overlap[];

export interface ScheduleOptions extends Timetable {
  /** Where training starts. Default `base`: the spec's own model. */
  readonly from?: TrainFrom;
  /** Default `skip`. */
  readonly overlap?: Overlap;
  /** How late a firing that the server missed may still come, as `10m` or `1d`. Default `1d`; at least `10s`. */
  readonly catchUp?: string;
  /** Pause the schedule when a retrain fails; one that is rejected by its gate has not failed. Default false. */
  readonly pauseOnFailure?: boolean;
  /** Create it paused. Default false. */
  readonly paused?: boolean;
  /** Folder that relative `file://` sources of the spec are relative to. */
  readonly folder?: string;
}

export interface ScheduleListing {
  readonly name: string;
  readonly model: string;
  readonly timetable: Timetable;
  readonly paused: boolean;
  readonly note: string;
  /** ISO 8601; empty while it is paused for good or its times are over. */
  readonly next: readonly string[];
}
export interface ScheduleView extends ScheduleListing {
  readonly spec: RunSpec;
  readonly from: TrainFrom;
  readonly overlap: Overlap;
  readonly catchUpSeconds: number;
  readonly pauseOnFailure: boolean;
  /** Firings that came too late to be caught up with, and those that were skipped since one still ran. */
  readonly missed: number;
  readonly skipped: number;
  /** The last retrains, newest first. */
  readonly retrains: readonly RetrainListing[];
}

/** A name is part of workflow ids and of run ids. */
const NAME = /^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$/;
/** An outage of a day is caught up with by one retrain; with `skip` the missed firings behind it are skipped. */
const DEFAULT_CATCH_UP = '1d';
const LEAST_CATCH_UP_MS = 10_000;
/** Enough to see how it goes; the Temporal UI has the rest. */
const RETRAINS_SHOWN = 10;

/** Kept beside the schedule, since the server gives a timetable back in other words than it was given in. */
interface Memo {
  readonly timetable: Timetable;
  readonly model: string;
}

export class Schedules {
  readonly #client: Client;
  readonly #cluster: string;

  constructor(client: Client, cluster: string) {
    this.#client = client;
    this.#cluster = cluster;
  }

  /** Checks spec and times, then creates it. Throws SpecRefusedError or ScheduleRefusedError before, ScheduleExistsError. */
  async create(name: string, document: RunSpecInput | RunSpec, options: ScheduleOptions): Promise<void> {
    const { from = 'base', overlap = 'skip', pauseOnFailure = false, paused = false, folder } = options;
    const checked = checkSpec(document, folder === undefined ? {} : { folder });
    if ('refusals' in checked) throw new SpecRefusedError('The spec', checked.refusals);
    if (!NAME.test(name))
      throw new ScheduleRefusedError(
        `The name "${name}" cannot be a schedule's: use 1 to 63 of a-z, 0-9, dot, dash and underscore.`,
      );
    const { spec } = checked;
    const refused = refuseTrainFrom(from, spec);
    if (refused !== undefined) throw new ScheduleRefusedError(refused);
    const { cron, every, at, timeZone } = options;
    const timetable = withoutUndefined({ cron, every, at, timeZone });
    const input: RetrainInput = { cluster: this.#cluster, spec, from };
    const memo: Memo = { timetable, model: spec.publish.model };
    const attributes = [keyword('AnnealCluster', this.#cluster), keyword('AnnealModel', spec.publish.model)];
    try {
      await this.#client.schedule.create({
        scheduleId: retrainWorkflowId(name),
        spec: scheduleSpec(timetable),
        action: {
          type: 'startWorkflow',
          workflowType: WORKFLOW_TYPES.retrain,
          workflowId: retrainWorkflowId(name),
          taskQueue: controlQueue(this.#cluster),
          args: [input],
          typedSearchAttributes: [...attributes, keyword('AnnealName', spec.name)],
          staticSummary: `${name}: retrain ${spec.publish.model} if its data has changed`,
        },
        policies: { overlap: OVERLAPS[overlap], catchupWindow: readCatchUp(options.catchUp), pauseOnFailure },
        state: { paused },
        memo: { ...memo },
        typedSearchAttributes: attributes,
      });
    } catch (error) {
      if (error instanceof ScheduleAlreadyRunning)
        throw new ScheduleExistsError(
          `There is a schedule "${name}" already. Take another name, or delete that one first: anneal schedule delete ${name}.`,
          { cause: error },
        );
      // What only the server can tell, such as a month that is none.
      if (error instanceof TypeError)
        throw new ScheduleRefusedError(`The server refuses these times: ${error.message}.`, { cause: error });
      throw error;
    }
  }

  /** Schedules of this cluster, by name; some seconds behind what was created last. */
  async list(): Promise<readonly ScheduleListing[]> {
    const prefix = retrainWorkflowId('');
    const found: ScheduleListing[] = [];
    const query = `AnnealCluster = '${this.#cluster.replaceAll("'", "''")}'`;
    for await (const schedule of this.#client.schedule.list({ query }))
      if (schedule.scheduleId.startsWith(prefix)) found.push(listing(schedule));
    return found.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async show(name: string): Promise<ScheduleView> {
    const description = await this.#describe(name);
    const { scheduleId, action, policies, info } = description;
    const input = action.args?.[0] as RetrainInput;
    return {
      ...listing(description),
      spec: input.spec,
      from: input.from,
      overlap: OVERLAP_NAMES.find((one) => OVERLAPS[one] === policies.overlap) ?? 'skip',
      catchUpSeconds: policies.catchupWindow / 1000,
      pauseOnFailure: policies.pauseOnFailure,
      missed: info.numActionsMissedCatchupWindow,
      skipped: info.numActionsSkippedOverlap,
      retrains: await listRetrains(this.#client, scheduleId, RETRAINS_SHOWN),
    };
  }

  /** Nothing fires until it is resumed; a retrain that runs goes on. */
  pause(name: string, why: string): Promise<void> {
    return this.#on(name, (handle) => handle.pause(why));
  }

  resume(name: string, why: string): Promise<void> {
    return this.#on(name, (handle) => handle.unpause(why));
  }

  /** Fires now, also while it is paused. What happens when a retrain of it runs is up to its overlap policy. */
  async trigger(name: string): Promise<void> {
    const { policies } = await this.#describe(name);
    // The server would not look at the policy by itself here.
    await this.#on(name, (handle) => handle.trigger(policies.overlap));
  }

  /** Retrains of it that run go on. */
  delete(name: string): Promise<void> {
    return this.#on(name, (handle) => handle.delete());
  }

  async #describe(name: string): Promise<ScheduleDescription> {
    return this.#on(name, (handle) => handle.describe());
  }

  async #on<T>(name: string, use: (handle: ScheduleHandle) => Promise<T>): Promise<T> {
    try {
      return await use(this.#client.schedule.getHandle(retrainWorkflowId(name)));
    } catch (error) {
      if (error instanceof TemporalScheduleNotFoundError)
        throw new ScheduleNotFoundError(
          `There is no schedule "${name}" here. "anneal schedule list" lists those that there are.`,
          { cause: error },
        );
      throw error;
    }
  }
}

/** What a list and a description have in common. */
interface Listed {
  readonly scheduleId: string;
  readonly state: { readonly paused: boolean; readonly note?: string };
  readonly info: { readonly nextActionTimes: readonly Date[] };
  readonly memo?: Record<string, unknown> | undefined;
}

function listing({ scheduleId, state, info, memo }: Listed): ScheduleListing {
  const { timetable = {}, model = '' } = (memo ?? {}) as Partial<Memo>;
  return {
    name: scheduleId.slice(retrainWorkflowId('').length),
    ...{ model, timetable, paused: state.paused, note: state.note ?? '' },
    next: info.nextActionTimes.map((time) => time.toISOString()),
  };
}

function readCatchUp(text = DEFAULT_CATCH_UP): number {
  const ms = durationMs(text) ?? 0;
  if (ms < LEAST_CATCH_UP_MS)
    throw new ScheduleRefusedError(
      `The catch-up window "${text}" cannot be used: write 10s or more, as a whole number with s, m, h or d.`,
    );
  return ms;
}

function withoutUndefined(timetable: { readonly [Key in keyof Timetable]: Timetable[Key] | undefined }): Timetable {
  return Object.fromEntries(Object.entries(timetable).filter(([, value]) => value !== undefined));
}

function keyword(name: SearchAttributeName, value: string): SearchAttributePair {
  return { key: defineSearchAttributeKey(name, 'KEYWORD'), value };
}

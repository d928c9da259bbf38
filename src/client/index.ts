/**
 * The SDK. `const anneal = await Anneal.connect(); const run = await anneal.runs.start(spec, { key }); await run.result();`
 */
import { Client, Connection } from '@temporalio/client';
import { setUpCluster, type ClusterSetup, type ClusterSetupOptions } from './cluster-setup.js';
import { type Place, resolvePlace, unreachable, type WhereOptions } from './connect.js';
import { isServerSilent } from './grpc.js';
import { Hosts } from './hosts.js';
import { Models } from './models.js';
import { Runs } from './runs.js';
import { Schedules } from './schedules.js';

export type {
  Asked,
  FineTuneResult,
  GangState,
  Handover,
  Incident,
  RunState,
  StageState,
} from '../contract/messages.js';
export type { HostView } from '../plan/hosts.js';
export type { Waiting } from '../plan/queue.js';
export type { Hosts } from './hosts.js';
export type { HostListing } from './trainers.js';
export type { RunSpec, RunSpecInput } from '../spec/run.js';
export type { Refusal } from '../spec/refusal.js';
export type { ClusterSetup, ClusterSetupOptions } from './cluster-setup.js';
export type { WhereOptions } from './connect.js';
export {
  ChoiceRefusedError,
  ClusterRefusedError,
  HostNotFoundError,
  KeyConflictError,
  ModelNotFoundError,
  RequestRefusedError,
  RunFailedError,
  RunNotFoundError,
  ScheduleExistsError,
  ScheduleNotFoundError,
  ScheduleRefusedError,
  ServerUnreachableError,
  SpecRefusedError,
  StoreUnknownError,
} from './errors.js';
export type { RunEvent, Snapshot } from './events.js';
export type { IterationMetrics } from '../plan/metrics.js';
export type { RunMetrics } from './metrics.js';
export type { Promotion } from '../plan/promotions.js';
export type { ModelListing } from './models.js';
export type { RetrainListing } from './retrain-list.js';
export type { RequestOptions } from './requests.js';
export type { RunListing } from './run-list.js';
export type { RunHandle } from './run-handle.js';
export type { RetryOptions, StartOptions } from './runs.js';
export {
  OVERLAP_NAMES,
  type Overlap,
  type ScheduleListing,
  type ScheduleOptions,
  type ScheduleView,
} from './schedules.js';
export type { Timetable } from './timetable.js';
export type { WatchOptions } from './watch.js';

export interface ConnectOptions extends WhereOptions {
  /** How long to wait for the server's first answer, in milliseconds. */
  readonly connectTimeoutMs?: number;
}

const CONNECT_TIMEOUT_MS = 5_000;

export class Anneal {
  readonly runs: Runs;
  readonly schedules: Schedules;
  readonly models: Models;
  readonly hosts: Hosts;
  /** The server and cluster that this client talks to. */
  readonly place: Place;
  readonly #connection: Connection;

  private constructor(connection: Connection, place: Place) {
    const client = new Client({ connection, namespace: place.namespace });
    this.#connection = connection;
    this.place = place;
    this.runs = new Runs(client, place);
    this.schedules = new Schedules(client, place.cluster);
    this.models = new Models(client, place);
    this.hosts = new Hosts(client, place.cluster);
  }

  /** Finds the server (options, environment if given, nearest `anneal dev`) and connects; throws ServerUnreachableError. */
  static async connect(options: ConnectOptions = {}): Promise<Anneal> {
    const place = await resolvePlace(options);
    try {
      const connection = await Connection.connect({
        ...place.connection,
        connectTimeout: options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
      });
      return new Anneal(connection, place);
    } catch (error) {
      if (isServerSilent(error) || (error instanceof Error && /connect|deadline/i.test(error.message)))
        throw unreachable(place, error);
      throw error;
    }
  }

  /** Makes the server ready for runs: namespace, retention, search attributes. What is there stays. */
  async setUp(options: ClusterSetupOptions = {}): Promise<ClusterSetup> {
    return setUpCluster(this.#connection, this.place.namespace, options);
  }

  async close(): Promise<void> {
    await this.#connection.close();
  }
}

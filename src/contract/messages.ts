/** Workflow types with their inputs, and what can be asked of and told to a running workflow. */
import type { ArtifactName, StageName } from '../plan/plan.js';
import type { RunSpec } from '../spec/run.js';
import type { FileSetRef, RunOpening, StageResult } from './activities.js';
import type { HostRequest, HostView } from '../plan/hosts.js';

export const WORKFLOW_TYPES = { fineTune: 'fineTune', trainGang: 'trainGang', hostPool: 'hostPool' } as const;

export interface FineTuneInput {
  readonly runId: string;
  readonly cluster: string;
  readonly spec: RunSpec;
}
export interface FineTuneResult {
  readonly runId: string;
  readonly outcome: 'promoted' | 'rejected';
  readonly baseAccuracy: number;
  readonly accuracy: number;
  readonly weightsDigest: string;
  readonly published: FileSetRef;
  /** The number of the promotion under `models/<name>/`; left out when the gate rejected the result. */
  readonly promotion?: number;
  readonly stages: readonly StageState[];
}

export interface TrainGangInput {
  readonly runId: string;
  readonly cluster: string;
  readonly opening: RunOpening;
  readonly inputs: Readonly<Partial<Record<ArtifactName, FileSetRef>>>;
}

export type StageStatus = 'waiting' | 'running' | 'done' | 'reused' | 'failed';
export interface StageState {
  readonly stage: StageName;
  readonly status: StageStatus;
  /** Epoch milliseconds by the workflow's clock. */
  readonly startedAt?: number;
  readonly endedAt?: number;
  readonly hosts: readonly string[];
  /** The run that made what a reused stage has found. */
  readonly madeBy?: string;
  /** One line for a person: what it did, or why it waits, or what it reused. */
  readonly note: string;
}

/** What happened to a gang and what the engine did about it. */
export interface Incident {
  readonly at: number;
  readonly generation: number;
  readonly host: string;
  readonly failure: string;
  readonly message: string;
  readonly decision: string;
  readonly iterationsLost: number;
}

/** Answer to the query `state` of `fineTune`. */
export interface RunState {
  readonly runId: string;
  readonly name: string;
  readonly cluster: string;
  readonly stages: readonly StageState[];
  readonly iterations: number;
  readonly outcome: 'running' | 'promoted' | 'rejected' | 'failed' | 'stopped';
}

/** Answer to the query `gang` of `trainGang`. */
export interface GangState {
  readonly generation: number;
  readonly hosts: readonly string[];
  readonly committedIteration: number;
  readonly iterations: number;
  readonly phase: 'waiting for hosts' | 'staging in' | 'training' | 'stopping' | 'done';
  readonly incidents: readonly Incident[];
}

/** What `trainGang` returns to `fineTune`: a stage's result whose checkpoint is the last commit. */
export type TrainGangResult = StageResult;

/** Signal names; the workflow and the sender define them from here with their argument types. */
export const SIGNALS = {
  /** agent -> pool: [HostFacts] */
  registerHost: 'registerHost',
  /** gang -> pool: [HostRequest] */
  requestHosts: 'requestHosts',
  /** gang -> pool: [LeaseOwner] */
  releaseHosts: 'releaseHosts',
  /** pool -> gang: [HostGrant] */
  hostsGranted: 'hostsGranted',
  /** pool -> gang: [string], why the request waits */
  hostsAwaited: 'hostsAwaited',
  /** trainGang -> fineTune: [{ note, hosts, generation, iteration }] */
  gangMoved: 'gangMoved',
} as const;
export interface GangMoved {
  readonly note: string;
  readonly hosts: readonly string[];
  readonly generation: number;
  readonly iteration: number;
}

export const QUERIES = { state: 'state', gang: 'gang', hosts: 'hosts' } as const;

/** What the pool carries over a continue-as-new. */
export interface HostPoolInput {
  readonly cluster: string;
  readonly hosts: readonly HostView[];
  readonly queue: readonly HostRequest[];
}

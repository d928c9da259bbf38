/** Workflow types with their inputs, and what can be asked of and told to a running workflow. */
import type { ArtifactName, StageName } from '../plan/plan.js';
import type { Commit } from '../plan/run-log.js';
import type { RunSpec } from '../spec/run.js';
import type { ChoosePromotionInput, FileSetRef, PromotedModel, RunOpening, StageResult } from './activities.js';
import type { HostHealth, HostView, Pool } from '../plan/hosts.js';
import type { DataState } from '../plan/promotions.js';
import type { Waiting } from '../plan/queue.js';
import type { GangState } from './gang.js';

export type { GangNews, GangState, Handover, Incident } from './gang.js';

export const WORKFLOW_TYPES = {
  fineTune: 'fineTune',
  trainGang: 'trainGang',
  hostPool: 'hostPool',
  retrain: 'retrain',
  chooseModel: 'chooseModel',
} as const;

export interface FineTuneInput {
  readonly runId: string;
  readonly cluster: string;
  readonly spec: RunSpec;
  /** Left out for a run that was submitted. */
  readonly retrain?: RetrainBasis;
  /** The run that this one retries: its training may go on from that one's last commit. */
  readonly retries?: string;
  /** Those that it was a retry of in its turn, the nearest first: it may have ended before its training. */
  readonly retriesBefore?: readonly string[];
}
/** What a retrain has fixed before its run begins. */
export interface RetrainBasis {
  /** Digest of the spec with `from`. */
  readonly spec: string;
  /** The pinned content: the run trains on this or fails. */
  readonly data: DataState;
  readonly from: TrainFrom;
  /** The current model, which the result must not be worse than; null while the model has none. */
  readonly base: PromotedModel | null;
}
/** Where training starts: the spec's own model, or the promoted one as soon as there is one. */
export type TrainFrom = 'base' | 'promoted';
/** Why a retrain of this spec cannot begin there; undefined when it can. */
export function refuseTrainFrom(from: TrainFrom, { training }: RunSpec): string | undefined {
  if (from === 'base' || training.initFrom === undefined) return undefined;
  return 'What begins from the promoted model cannot begin from training.initFrom too: take one of the two out.';
}
export interface FineTuneResult {
  readonly runId: string;
  readonly outcome: 'promoted' | 'rejected' | 'superseded';
  /** Of the model that the result is compared with: the one that training began from, or for a retrain the promoted one. */
  readonly baseAccuracy: number;
  readonly accuracy: number;
  readonly weightsDigest: string;
  readonly published: FileSetRef;
  readonly data: DataState;
  /** The number of the promotion under `models/<name>/`; left out when the result was not promoted. */
  readonly promotion?: number;
  /** Why the result was not promoted, a sentence. */
  readonly why?: string;
  readonly stages: readonly StageState[];
}

/** What somebody says who asks something of a run. */
export interface RunRequest {
  /** A person or a program, in its own words. */
  readonly by: string;
  readonly why: string;
}
export interface Asked extends RunRequest {
  /** Epoch milliseconds by the run's clock. */
  readonly at: number;
}
/** The end of a run that was asked to stop: no failure, and no result. */
export interface StoppedRun {
  readonly runId: string;
  readonly outcome: 'stopped';
  readonly stopped: Asked;
  /** The last commit of its training; 0 before the first, and where the training was not reached. */
  readonly committedIteration: number;
  readonly stages: readonly StageState[];
}
export type RunResult = FineTuneResult | StoppedRun;

/** The action of a schedule. */
export interface RetrainInput {
  readonly cluster: string;
  readonly spec: RunSpec;
  readonly from: TrainFrom;
}
export interface RetrainResult {
  readonly outcome: 'skipped: unchanged' | RunResult['outcome'];
  readonly data: DataState;
  /** The run that it started, or for a skipped one the run that has trained on this data. */
  readonly runId: string;
  readonly accuracy?: number;
  readonly baseAccuracy?: number;
  readonly promotion?: number;
  readonly why?: string;
}

/** A promotion by hand. */
export interface ChooseModelInput extends ChoosePromotionInput {
  readonly cluster: string;
}

export interface TrainGangInput {
  readonly runId: string;
  readonly cluster: string;
  readonly opening: RunOpening;
  readonly inputs: Readonly<Partial<Record<ArtifactName, FileSetRef>>>;
  /** Of the training; left out by a run that began before there was a retry. */
  readonly stageKey?: string;
  /** A commit of another run, from which a run without one of its own goes on. */
  readonly goesOnFrom?: Commit;
}

export type StageStatus = 'waiting' | 'running' | 'done' | 'reused' | 'failed' | 'stopped';
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

/** Answer to the query `state` of `fineTune`. */
export interface RunState {
  readonly runId: string;
  readonly name: string;
  readonly cluster: string;
  readonly stages: readonly StageState[];
  readonly iterations: number;
  /** What the gang has told so far; left out before the training and when it was reused. */
  readonly gang?: GangState;
  /** The run that it retries, and, once the training is reached, where that begins and why: half a sentence. */
  readonly retry?: { readonly of: string; readonly note: string };
  /** While it is paused; it stays open and goes on when it is resumed. */
  readonly paused?: Asked;
  /** From the moment at which it was asked to stop. */
  readonly stopped?: Asked;
  readonly outcome: 'running' | RunResult['outcome'] | 'failed';
}

/** What `trainGang` returns to `fineTune`: a stage's result whose checkpoint is the last commit. */
export type TrainGangResult = StageResult;

/** Signal names; the workflow and the sender define them from here with their argument types. */
export const SIGNALS = {
  /** gang -> pool: [HostRequest] */
  requestHosts: 'requestHosts',
  /** gang -> pool: [HostRelease] */
  releaseHosts: 'releaseHosts',
  /** gang -> pool: [HostBlame] */
  blameHost: 'blameHost',
  /** pool -> gang: [HostGrant] */
  hostsGranted: 'hostsGranted',
  /** pool -> gang: [string], why the request waits */
  hostsAwaited: 'hostsAwaited',
  /** gang -> run, sent by the control worker's activities: [GangNews] */
  gangMoved: 'gangMoved',
  /** run -> gang: [Asked | null], null when it is to go on */
  gangPaused: 'gangPaused',
  /** pool -> owner of a lease: [HostDrain] */
  hostDrained: 'hostDrained',
} as const;
export const QUERIES = { state: 'state', gang: 'gang', pool: 'pool' } as const;

/** Updates: what the pool or a run may refuse, with a sentence. */
export const UPDATES = {
  /** anybody -> run: [RunRequest] -> Asked; the answer comes when it is accepted, the trainers save after that */
  stopRun: 'stopRun',
  pauseRun: 'pauseRun',
  resumeRun: 'resumeRun',
  /** agent -> pool: [HostFacts] -> Registration */
  registerHost: 'registerHost',
  /** agent -> pool: [HostLook] */
  hostLooked: 'hostLooked',
  /** operator -> pool: [CordonHost] */
  cordonHost: 'cordonHost',
  /** operator -> pool: [CordonHost]; as a cordon, and who holds the host is asked to move */
  drainHost: 'drainHost',
  /** operator -> pool: [string], the host */
  uncordonHost: 'uncordonHost',
} as const;
export interface Registration {
  /** The pool's first run id: another one is another pool, which does not know the host. */
  readonly poolId: string;
}
export interface HostLook {
  readonly host: string;
  readonly health: HostHealth;
}
export interface CordonHost {
  readonly host: string;
  readonly reason: string;
}

/** Answer to the query `pool` of `hostPool`. */
export interface PoolState {
  readonly hosts: readonly HostView[];
  /** Head first. */
  readonly waiting: readonly Waiting[];
  readonly joinedAt: number;
}

export interface HostPoolInput {
  readonly cluster: string;
  /** What the pool carries over a continue-as-new; left out when it begins. */
  readonly pool?: Pool;
}

/** Input and output of every activity: plain JSON, small; lists live in the store, digests in histories. */
import type { TrainerPhase } from '../plan/hang.js';
import type { ArtifactName, StageName } from '../plan/plan.js';
import type { Commit, RunFact } from '../plan/run-log.js';
import type { Priority, RunSpec } from '../spec/run.js';
import type { LeaseOwner } from '../plan/hosts.js';
import type { HostCheck } from '../plan/preflight.js';
import type { Promotion, PromotionFact, RetrainFact } from '../plan/promotions.js';
import type { GangNews, GangWords } from './gang.js';

/** A set of files in the store; its digest is that of its manifest, and only what the manifest names is believed. */
export interface FileSetRef {
  readonly prefix: string;
  readonly manifestKey: string;
  readonly digest: string;
}

/** What a stage hands on. `facts` are small numbers and texts for people and for the gate. */
export interface StageResult {
  readonly artifacts: Readonly<Partial<Record<ArtifactName, FileSetRef>>>;
  readonly facts: Readonly<Record<string, string | number | boolean>>;
}

/** One of the sources that fetch brings; the last only where the spec names a save folder to begin from. */
export type FetchItem = 'fetch-model' | 'fetch-data' | 'fetch-start';

/** One thing with a resume point of its own: a stage, or one source. */
export type StageItem = StageName | FetchItem;

export interface OpenRunInput {
  readonly runId: string;
  readonly cluster: string;
  readonly spec: RunSpec;
}
/** The part of the plan that the workflow itself needs. */
export interface RunOpening {
  readonly planDigest: string;
  readonly hosts: number;
  readonly npusPerHost: number;
  readonly runtime: 'cpu' | 'ascend';
  readonly iterations: number;
  readonly saveEveryIterations: number;
  readonly keepCheckpoints: number;
  readonly reportingNode: number;
  readonly inputs: Readonly<Record<StageName, readonly ArtifactName[]>>;
  readonly minimumAccuracy: number;
  readonly publishAs: string;
  readonly timing: Timing;
  readonly priority?: Priority;
}
/** Time limits that belong to the cluster, not to the code: a laptop notices in seconds, production outlives a server upgrade. */
export interface Timing {
  /** A silent activity is scheduled anew after this long. */
  readonly heartbeatSeconds: number;
  /** How long a host may take to pick up work again before it counts as lost. */
  readonly attachSeconds: number;
}

export interface FindResumePointInput {
  readonly runId: string;
  readonly item: StageItem;
  /** Digests of the stage's inputs, by artifact name. */
  readonly inputs: Readonly<Partial<Record<ArtifactName, string>>>;
  /** For fetch: what the source holds at this moment, so that a changed source has another key. */
  readonly fingerprint?: string;
}
export interface ResumePointLookup {
  readonly stageKey: string;
  /** The number under which a new result is recorded. */
  readonly nextNumber: number;
  readonly found?: StageResult;
  /** The run that made what was found. */
  readonly foundRunId?: string;
  /** Why a recorded result was not believed, e.g. a flipped byte. */
  readonly rejected?: string;
}
export interface RecordResumePointInput {
  readonly runId: string;
  readonly stageKey: string;
  readonly number: number;
  readonly result: StageResult;
}

export interface AppendRunFactsInput {
  readonly runId: string;
  /** Of the first; each of the others has the next. */
  readonly number: number;
  readonly facts: readonly RunFact[];
  /** Told to the run's workflow once they stand. */
  readonly news?: GangNews;
}
export interface TellRunInput {
  readonly runId: string;
  readonly news: GangNews;
}

export interface WatchSavesInput {
  readonly runId: string;
  readonly generation: number;
  /** Only saves after this iteration are of interest. */
  readonly afterIteration: number;
  /** Look once and return, instead of waiting for the next save. */
  readonly once: boolean;
}
export interface CompleteSave {
  readonly iteration: number;
  readonly checkpoint: FileSetRef;
  /** Left out when no node's heartbeat was to be had. */
  readonly words?: GangWords;
  /** This save's watcher took over from a control worker that is gone. */
  readonly workerReplaced?: true;
}

export interface FindEarlierCommitInput {
  readonly runId: string;
  /** The run that is retried. */
  readonly earlierRunId: string;
  /** Of the training that is to begin. */
  readonly stageKey: string;
}

export interface LastWordsInput {
  readonly runId: string;
  readonly generation: number;
  readonly hosts: readonly string[];
}
export type LastWords = Pick<TrainProgress, 'host' | 'at' | 'iteration'>;

export interface DeleteDroppedInput {
  readonly runId: string;
  /** Look once and return, instead of following the run's log. */
  readonly once: boolean;
}

export interface PickHostInput {
  readonly cluster: string;
  readonly runtime: 'cpu' | 'ascend';
  /** Hosts that were tried and failed. */
  readonly except: readonly string[];
}

export interface PromotedModel {
  readonly number: number;
  readonly published: FileSetRef;
}
export interface PromoteInput {
  readonly model: string;
  readonly promotion: PromotionFact;
}
/** Promoted under a number; or newer data was faster; or the gate must look at the model that is current now. */
export type PromoteOutcome =
  { readonly number: number } | { readonly supersededBy: number } | { readonly judgeAgainst: PromotedModel };

export interface OpenRetrainInput {
  readonly cluster: string;
  readonly spec: RunSpec;
  readonly from: 'base' | 'promoted';
}
export interface RetrainOpening {
  readonly runtime: 'cpu' | 'ascend';
  /** Digest of the spec with `from`. */
  readonly spec: string;
  /** Where hosts read the spec before a run of it exists. */
  readonly specKey: string;
}
export interface LookAtModelInput {
  readonly model: string;
  readonly spec: string;
  readonly fingerprint: string;
}
export interface ModelLook {
  /** The run that has trained on this data by this spec already. */
  readonly trainedBy: string | null;
  readonly current: PromotedModel | null;
}

/** What a person makes current: the result of a run, or an earlier promotion (null: the one before the current). */
export type PromotionChoice =
  { readonly runId: string } | { readonly model: string; readonly rollBackTo: number | null };
export interface ChoosePromotionInput {
  /** Unique, so that an attempt that is made again is the same choice. */
  readonly request: string;
  readonly choice: PromotionChoice;
  readonly why: string;
}
export interface ChosenPromotion {
  readonly model: string;
  readonly promotion: Promotion;
}

/** The activity asks the pool itself for its hosts and owners, so that it need not be restarted when they change. */
export interface WatchHostsInput {
  readonly cluster: string;
}
/** What has changed since the pool's own view; `ended` are owners of leases whose workflow has closed. */
export interface HostChanges {
  readonly live: readonly string[];
  readonly lost: readonly string[];
  readonly ended: readonly LeaseOwner[];
}

/** Activities of the control worker. */
export interface ControlActivities {
  readonly openRun: (input: OpenRunInput) => Promise<RunOpening>;
  readonly findResumePoint: (input: FindResumePointInput) => Promise<ResumePointLookup>;
  readonly recordResumePoint: (input: RecordResumePointInput) => Promise<void>;
  readonly readRunLog: (input: { readonly runId: string }) => Promise<readonly RunFact[]>;
  readonly appendRunFacts: (input: AppendRunFactsInput) => Promise<void>;
  /** Writes the loss record and the incidents of a training that has ended; the record's key, or null when nothing was measured. */
  readonly recordMetrics: (input: { readonly runId: string }) => Promise<string | null>;
  /** Fails only when the store takes no incident: a page that is not told is behind, and no more. */
  readonly tellRun: (input: TellRunInput) => Promise<void>;
  /** Reads a file set again, byte by byte; a sentence about what is damaged, or null. */
  readonly findDamage: (input: { readonly fileSet: FileSetRef }) => Promise<string | null>;
  /** The last commit of an earlier run, if its training means the same; and a note for people either way. */
  readonly findEarlierCommit: (
    input: FindEarlierCommitInput,
  ) => Promise<{ readonly commit?: Commit; readonly note: string }>;
  /** What the heartbeats of these hosts' trainers last said, as the server keeps it. Never fails: nobody was heard then. */
  readonly lastWords: (input: LastWordsInput) => Promise<readonly LastWords[]>;
  readonly watchSaves: (input: WatchSavesInput) => Promise<CompleteSave | null>;
  /** Deletes the files of commits that the run's log has dropped for their age. */
  readonly deleteDropped: (input: DeleteDroppedInput) => Promise<void>;
  /** Null when every live host is in `except`. */
  readonly pickHost: (input: PickHostInput) => Promise<string | null>;
  readonly promote: (input: PromoteInput) => Promise<PromoteOutcome>;
  readonly choosePromotion: (input: ChoosePromotionInput) => Promise<ChosenPromotion>;
  readonly openRetrain: (input: OpenRetrainInput) => Promise<RetrainOpening>;
  readonly lookAtModel: (input: LookAtModelInput) => Promise<ModelLook>;
  readonly recordRetrain: (input: { readonly model: string; readonly retrain: RetrainFact }) => Promise<void>;
  readonly watchHosts: (input: WatchHostsInput) => Promise<HostChanges>;
}

export interface FingerprintInput {
  /** Key of the spec in the store: a retrain asks before its run exists. */
  readonly specKey: string;
  readonly item: FetchItem;
}
export interface FetchInput {
  readonly runId: string;
  readonly item: FetchItem;
  /** What the source must hold before and after. */
  readonly fingerprint: string;
}
export interface StageInput {
  readonly runId: string;
  readonly inputs: Readonly<Partial<Record<ArtifactName, FileSetRef>>>;
}

/** Judging holds a lease like training does. */
export interface EvaluateInput extends StageInput {
  readonly fence: number;
  readonly owner: LeaseOwner;
}

/** One generation of a gang as every node of it sees it. */
export interface GangInput {
  readonly runId: string;
  readonly generation: number;
  readonly nodeRank: number;
}
export interface StageInInput extends GangInput {
  readonly fence: number;
  /** The host remembers whose its last lease was. */
  readonly owner: LeaseOwner;
  readonly inputs: Readonly<Partial<Record<ArtifactName, FileSetRef>>>;
  /** Where training goes on from: a committed checkpoint, or the converted model at iteration 0. */
  readonly resumeFrom: { readonly iteration: number; readonly checkpoint: FileSetRef } | null;
  /** After a loss that was no number: a commit with numbers that are not finite is damaged. */
  readonly checkFinite: boolean;
}
export interface OpenRendezvousInput extends GangInput {
  /** Ports of earlier generations. */
  readonly exclude: readonly number[];
}
/** Where the files came from that a node's ranks read: from what the host had of an earlier generation, or from the store. */
export interface Restored {
  readonly localFiles: number;
  readonly localBytes: number;
  readonly downloadedFiles: number;
  readonly downloadedBytes: number;
}
export interface TrainRankInput extends GangInput {
  readonly fence: number;
  readonly inputs: Readonly<Partial<Record<ArtifactName, FileSetRef>>>;
  readonly masterAddress: string;
  readonly masterPort: number;
  readonly resumeIteration: number;
  /** The furthest that any generation of the run has come: what lies beyond it is new. */
  readonly reachedIteration: number;
}
export interface TrainRankResult {
  /** The iteration that the trainer reached; on nodes that do not report iterations, that of the last save. */
  readonly iteration: number;
  readonly loss?: number;
  /** These two are as in `TrainProgress`. */
  readonly secondsPerIteration?: number;
  readonly newIterationAt?: number;
}
/** What a trainer's heartbeat says: small, for the Pending Activities page and for `anneal watch`. */
export interface TrainProgress {
  readonly host: string;
  /** Epoch milliseconds by the host's clock. */
  readonly at: number;
  readonly phase: TrainerPhase;
  readonly generation: number;
  readonly iteration: number;
  readonly iterations: number;
  readonly loss?: number;
  /** Mean of the last iterations, by the trainer's own clock. */
  readonly secondsPerIteration?: number;
  /** When this generation came to its first iteration beyond `reachedIteration`: epoch milliseconds on this host. */
  readonly newIterationAt?: number;
  /** This attempt took over a trainer that another one had started. */
  readonly adopted?: true;
  /** Seconds since the trainer last said anything. */
  readonly quietSeconds: number;
  readonly shippedIteration: number;
  /** Of the trainer's launcher on the host, for as long as this attempt has known it running. */
  readonly pid?: number;
}
/** What the heartbeat of a shorter stage says. */
export interface StageProgress {
  readonly host: string;
  readonly message: string;
  readonly done?: number;
  readonly total?: number;
}

export interface VacateHostInput {
  /** Higher than that of every lease that is over; work under a lower one is refused from then on. */
  readonly fence: number;
}
/** A sign of life of a host, with what it sees of a trainer. */
export interface ProbeTrainerInput extends GangInput {
  /** Write the stacks of all ranks into the run's log. */
  readonly stacks: boolean;
}
export interface TrainerLook {
  readonly trainer: 'absent' | 'starting' | 'running' | 'exited' | 'lost';
  /** Only with stacks. */
  readonly ranks: readonly RankLook[];
}
export interface RankLook {
  readonly rank: number;
  readonly pid: number;
  /** Of the process, as a person says it: `running`, `sleeping`, `stopped`, `in a driver`. */
  readonly state: string;
  /** What took its stacks, or why nothing did. */
  readonly stacks: string;
}
export interface StopTrainerInput extends GangInput {
  /** The generation broke: what this host knows of it goes to the store. */
  readonly isBroken: boolean;
}
export interface StopTrainerResult {
  readonly stopped: readonly number[];
  /** How many files of evidence are in the store; left out when nothing broke. */
  readonly evidence?: number;
  /** How far the one trainer came that was asked for, by its own words. */
  readonly iteration?: number;
}

/** Activities of an agent's `io` queue. */
export interface IoActivities {
  readonly fingerprintSource: (input: FingerprintInput) => Promise<{ readonly fingerprint: string }>;
  readonly fetchSource: (input: FetchInput) => Promise<StageResult>;
  readonly convertModel: (input: StageInput) => Promise<StageResult>;
  readonly prepareData: (input: StageInput) => Promise<StageResult>;
  readonly publishModel: (input: StageInput) => Promise<StageResult>;
  /** Null when this generation's trainer was launched already. */
  readonly stageIn: (input: StageInInput) => Promise<Restored | null>;
  /** Looks at the host itself, before a trainer is launched there. */
  readonly checkHost: () => Promise<HostCheck>;
  readonly openRendezvous: (input: OpenRendezvousInput) => Promise<{ readonly port: number }>;
  readonly probeTrainer: (input: ProbeTrainerInput) => Promise<TrainerLook>;
  readonly stopTrainer: (input: StopTrainerInput) => Promise<StopTrainerResult>;
  /** Stores the fence, then ends whatever an earlier lease has left, and proves the host empty. */
  readonly vacateHost: (input: VacateHostInput) => Promise<StopTrainerResult>;
}

/** Activities of an agent's `npu` queue. */
export interface NpuActivities {
  readonly trainRank: (input: TrainRankInput) => Promise<TrainRankResult>;
  readonly evaluateModel: (input: EvaluateInput) => Promise<StageResult>;
}

/** The plan: everything derived from a spec before anything starts. What `anneal plan` prints is what the agents run. */
import type { HangLimits } from './hang.js';

/**
 * What only a lease, a host or an earlier stage knows. Each hole is filled by the agent at launch:
 * - `work`           the folder of this stage (train: of this generation) on the host
 * - `trainerHome`    the folder that holds the trainer's entry scripts
 * - `toolsHome`      the folder of our own tools (data preparation, Dist-train split, judging), on both runtimes
 * - `start`          the save folder that training begins from, where the spec names one
 * - `baseModel` `converted` `dataset` `trained` `published`  verified local copies of earlier stages' artifacts
 * - `sourceData`     the fetched data set
 * - `load` `save`    the generation's read-only load folder and its fresh save folder; with adapters `converted` is a load folder too
 * - `masterAddress` `masterPort` `nodeRank`  the rendezvous of this generation
 */
export type HoleName =
  | 'work'
  | 'trainerHome'
  | 'toolsHome'
  | 'baseModel'
  | 'sourceData'
  | 'start'
  | 'converted'
  | 'dataset'
  | 'trained'
  | 'published'
  | 'load'
  | 'save'
  | 'masterAddress'
  | 'masterPort'
  | 'nodeRank';

/** A text, or a text with one hole: `{hole: 'dataset', then: '/train.jsonl'}`. */
export type Argument = string | Hole;
export interface Hole {
  readonly hole: HoleName;
  readonly then?: string;
}

/** A program and its arguments as an array, never a shell line. `program` is looked up in the runtime's own `bin` first. */
export interface CommandPlan {
  readonly program: string;
  readonly args: readonly Argument[];
  readonly env: Readonly<Record<string, Argument>>;
  readonly cwd: Argument;
  /** What the program is answered on its standard input; left out, it gets none. */
  readonly stdin?: string;
  /** Of a training: further arguments when it goes on from a checkpoint that does not hold the model. */
  readonly whenResumed?: readonly Argument[];
}

/** A JSON file that the agent writes below `work` before the command starts; holes may stand for any string in it. */
export interface FilePlan {
  readonly path: string;
  readonly content: JsonWithHoles;
}
export type JsonWithHoles =
  string | number | boolean | null | Hole | readonly JsonWithHoles[] | { readonly [key: string]: JsonWithHoles };

export type StageName = 'fetch' | 'convert' | 'prepare' | 'train' | 'publish' | 'evaluate';
export const STAGE_NAMES: readonly StageName[] = ['fetch', 'convert', 'prepare', 'train', 'publish', 'evaluate'];

/** What a stage reads: the results of earlier stages by name. `fetch` yields up to three: `model`, `data`, `start`. */
export type ArtifactName =
  'model' | 'data' | 'start' | 'converted' | 'dataset' | 'checkpoint' | 'published' | 'evaluation';

export interface StagePlan {
  readonly stage: StageName;
  /** Artifacts whose digests enter the stage key, in this order. */
  readonly inputs: readonly ArtifactName[];
  /** What else enters the stage key: every value that changes the result, and nothing that does not. */
  readonly parameters: JsonWithHoles;
  readonly files: readonly FilePlan[];
  /** Run one after another; for `train` the one command of every node. */
  readonly commands: readonly CommandPlan[];
}

/** `[first, past the last]`, counted from 0 in the whole tower. */
export type LayerRange = readonly [number, number];

/** One process of the gang. */
export interface RankPlan {
  readonly rank: number;
  readonly nodeRank: number;
  readonly localRank: number;
  readonly vision?: RankShare;
  readonly language?: RankShare;
}
export interface RankShare {
  readonly tensorRank: number;
  readonly contextRank: number;
  readonly pipelineStage: number;
  readonly dataRank: number;
  /** One range for each virtual stage, empty where that holds none of this tower; without a virtual pipeline there is one. */
  readonly layers: readonly LayerRange[];
}

/** A file of a checkpoint, relative to its `iter_…` folder, the node that writes it, and the nodes that read it on restore. */
export interface CheckpointFile {
  readonly path: string;
  readonly writtenBy: number;
  readonly readBy: readonly number[];
}

export interface GangPlan {
  readonly hosts: number;
  readonly npusPerHost: number;
  readonly worldSize: number;
  readonly ranks: readonly RankPlan[];
  readonly checkpointFiles: readonly CheckpointFile[];
  /** Files of the converted model that each node needs at the first start, relative to its `release` folder. */
  readonly releaseFiles: readonly CheckpointFile[];
  /** The node whose trainer reports iterations (Megatron: the one that holds the last rank). */
  readonly reportingNode: number;
  readonly iterations: number;
  readonly saveEveryIterations: number;
  readonly keepCheckpoints: number;
}

export interface Plan {
  readonly version: 1;
  readonly name: string;
  readonly runtime: 'cpu' | 'ascend';
  readonly gang: GangPlan;
  readonly stages: Readonly<Record<StageName, StagePlan>>;
  readonly gate: { readonly minimumAccuracy: number };
  readonly publishAs: string;
  /** How long a trainer may make no progress, where the spec says it. */
  readonly limits?: HangLimits;
}

/** The value of every hole that a command may have, on one host. */
export type HoleValues = Readonly<Partial<Record<HoleName, string>>>;

/** The command of a training that goes on from an iteration, or begins at 0. */
export function commandFrom({ whenResumed = [], ...command }: CommandPlan, iteration: number): CommandPlan {
  return iteration === 0 ? command : { ...command, args: [...command.args, ...whenResumed] };
}

/** Whether a checkpoint holds adapters alone, so that a training goes on from it with the converted model beside it. */
export function resumesOnBase({ stages }: Plan): boolean {
  return stages.train.commands.some(({ whenResumed }) => whenResumed !== undefined);
}

/** Fills one argument; a hole that has no value is a mistake of ours, and the message names it. */
export function fillArgument(argument: Argument, values: HoleValues): string {
  if (typeof argument === 'string') return argument;
  const value = values[argument.hole];
  if (value === undefined) throw new Error(`The plan needs "${argument.hole}" here, but this stage was not given it.`);
  return value + (argument.then ?? '');
}

/** Fills the holes of a JSON document. */
export function fillJson(content: JsonWithHoles, values: HoleValues): unknown {
  if (Array.isArray(content)) return content.map((item: JsonWithHoles) => fillJson(item, values));
  if (content === null || typeof content !== 'object') return content;
  if (isHole(content)) return fillArgument(content, values);
  return Object.fromEntries(Object.entries(content).map(([key, item]) => [key, fillJson(item, values)]));
}

/** How a hole is shown to a person, e.g. `{dataset}/train.jsonl`. */
export function showArgument(argument: Argument): string {
  return typeof argument === 'string' ? argument : `{${argument.hole}}${argument.then ?? ''}`;
}

function isHole(content: object): content is Hole {
  return 'hole' in content;
}

/** What a family of models has of its own, bound to the sizes of one model: all that the rest of the adapter asks of it, and knows of no family by name. */
import type { ModelSizes } from '../../plan/model-sizes.js';
import type { Argument, JsonWithHoles } from '../../plan/plan.js';
import type { Refusal } from '../../spec/refusal.js';
import type { RunSpec } from '../../spec/run.js';
import type { RuntimeFeatures, RuntimeSpec } from '../../spec/runtime.js';
import type { Job, JsonObject } from './job.js';

export interface Model {
  readonly dimensions: ModelSizes;
  readonly counts: VisionCounts;
  /** Where it can be trained. */
  readonly runtimes: readonly RuntimeSpec['kind'][];
  readonly converter: Converter;
  readonly published: Published;
  image(spec: RunSpec): ImageCounts;
  modelJson(job: Job): JsonObject;
  dataJson(job: Job): JsonObject;
  training(job: Job): TrainingWays;
  /** Of `anneal_trainer.prepare`: how rows become what `dataJson` reads. */
  preparing(spec: RunSpec): Preparing;
  /** Of `anneal_trainer.evaluate`, beside what it judges. */
  readonly judging: readonly string[];
  /** What must hold on every runtime. */
  rules(job: Question): readonly Refusal[];
  /** What MindSpeed MM 2.2.0 cannot do with this family. */
  ascendRules(job: Question): readonly Refusal[];
}

/** A job before its rules are checked. */
export type Question = Omit<Job, 'profile'>;

export type FusedOperator = NonNullable<RuntimeFeatures['fusedOperators']>[number];

/** Of mm-convert. */
export interface Converter {
  readonly name: 'InternVLConverter' | 'Qwen2_5_VLConverter';
  /** It runs code that lies in the model folder, and asks for the consent on its standard input. */
  readonly runsModelCode: boolean;
  /** Tensors that were split come back as they were. */
  readonly joinsTensors: boolean;
}

/** What the published files and scripts have where a spec says nothing. */
export interface Published {
  readonly recompute: NonNullable<RuntimeFeatures['recompute']>;
  readonly fusedOperators: readonly FusedOperator[];
  /** On one Atlas 800T A2 with 8 NPUs, in MindSpeed MM's README; most sizes have no such number. */
  readonly samplesPerSecond?: number;
}

export interface TrainingWays {
  readonly script: 'pretrain_vlm.py' | 'pretrain_internvl.py';
  /** Beside those that every family is started with. */
  readonly flags: readonly string[];
  /** `--num-workers` on Ascend. */
  readonly dataWorkers: number;
  /** Operators that are fused by a flag; others by a key of model.json. */
  readonly fusedFlags: readonly FusedOperator[];
  /** Beside the variables of the runtime. */
  readonly environment: Readonly<Record<string, Argument>>;
}

export interface Preparing {
  readonly args: readonly string[];
  /** What of it enters the key of the stage. */
  readonly parameters: Readonly<Record<string, JsonWithHoles>>;
}

/** The largest image that a row may hold, as the model sees it. */
export interface ImageCounts {
  readonly tokensPerTile: number;
  readonly tiles: number;
  readonly patchesPerTile: number;
  /** To how many patches one attends, on average over the layers. */
  readonly attendedPatches: number;
}

/** Numbers that tensor ranks share, and numbers that each has whole. */
export interface Parts {
  readonly split: number;
  readonly whole: number;
}

export interface VisionCounts {
  /** Parameters before the first layer, whole on every tensor rank. */
  readonly embedding: number;
  /** Parameters of one layer. */
  readonly layer: Parts;
  /** Parameters between the towers. */
  readonly projector: Parts;
  /** Elements that a layer keeps of each patch for the backward pass. */
  readonly kept: Parts;
}

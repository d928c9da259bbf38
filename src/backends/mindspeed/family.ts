/** What a family of models answers when the rest of the adapter, which knows none by name, asks it. */
import type { Argument, JsonWithHoles } from '../../plan/plan.js';
import type { RuntimeFeatures } from '../../spec/runtime.js';
import type { LoraTarget } from './lora.js';

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

/** Of linear layers, by MindSpeed MM's names: how many numbers go in, and how many come out. */
export type Widths = Readonly<Partial<Record<LoraTarget, readonly [number, number]>>>;

export interface VisionCounts {
  /** Parameters before the first layer, whole on every tensor rank. */
  readonly embedding: number;
  /** Parameters of one layer. */
  readonly layer: Parts;
  /** Parameters between the towers. */
  readonly projector: Parts;
  /** Linear layers of a layer, and between the towers. */
  readonly linear: { readonly layer: Widths; readonly projector: Widths };
  /** Elements that a layer keeps of each patch for the backward pass. */
  readonly kept: Parts;
}

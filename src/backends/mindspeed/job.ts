/** What the adapters work from: the spec, the sizes of its model, its resolved layout, and the runtime's own ways. */
import type { Argument, JsonWithHoles } from '../../plan/plan.js';
import type { Layout } from '../../plan/layout.js';
import type { Refusal } from '../../spec/refusal.js';
import type { RunSpec } from '../../spec/run.js';
import type { Preset } from './presets.js';

/** Where the runtimes differ, as data. */
export interface RuntimeProfile {
  readonly kind: 'cpu' | 'ascend';
  /** Enters the key of every stage: raised when the same inputs would give another result. */
  readonly release: string;
  readonly precision: 'bf16' | 'fp32';
  readonly distributedBackend: 'gloo' | 'nccl';
  /** The folder in which the trainer starts. */
  readonly trainingFolder: Argument;
  readonly trainingEnvironment: Readonly<Record<string, Argument>>;
  readonly toolEnvironment: Readonly<Record<string, Argument>>;
  /** `--mm-tool`, where the trainer has such a file. */
  readonly toolsFile?: Argument;
  /** Into how many tiles a large image is cut at most. */
  readonly tilesPerImage: number;
  readonly deviceFlags: readonly Argument[];
  /** What the converter is answered when the user trusts the code in the model folder. */
  readonly trustAnswer?: string;
  refusals(job: Omit<Job, 'profile'>): readonly Refusal[];
}

export interface Job {
  readonly spec: RunSpec;
  readonly model: Preset;
  readonly layout: Layout;
  readonly profile: RuntimeProfile;
}

export type JsonObject = Readonly<Record<string, JsonWithHoles>>;

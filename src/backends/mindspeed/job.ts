/** What the adapters work from: the spec, the model with the ways of its family, its resolved layout, and the runtime's own ways. */
import type { Argument, JsonWithHoles } from '../../plan/plan.js';
import type { Layout } from '../../plan/layout.js';
import type { Refusal } from '../../spec/refusal.js';
import type { RunSpec } from '../../spec/run.js';
import type { RuntimeSpec } from '../../spec/runtime.js';
import type { Model } from './family.js';

/** Where the runtimes differ, as data. */
export interface RuntimeProfile {
  readonly kind: RuntimeSpec['kind'];
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
  /** `--num-workers`; left out, as the family is published with. */
  readonly dataWorkers?: number;
  readonly deviceFlags: readonly Argument[];
  /** What the converter is answered when the user trusts the code in the model folder. */
  readonly trustAnswer?: string;
  refusals(job: Omit<Job, 'profile'>): readonly Refusal[];
}

export interface Job {
  readonly spec: RunSpec;
  readonly model: Model;
  readonly layout: Layout;
  readonly profile: RuntimeProfile;
}

export type JsonObject = Readonly<Record<string, JsonWithHoles>>;

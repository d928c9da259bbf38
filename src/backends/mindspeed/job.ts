/** What the adapters work from: the spec, the model with the ways of its family, its resolved layout, and the runtime's own ways. */
import type { Layout } from '../../plan/layout.js';
import type { ModelSizes } from '../../plan/model-sizes.js';
import type { Argument, JsonWithHoles } from '../../plan/plan.js';
import type { Refusal } from '../../spec/refusal.js';
import type { RunSpec } from '../../spec/run.js';
import type { RuntimeSpec } from '../../spec/runtime.js';
import type { Converter, ImageCounts, Preparing, Published, TrainingWays, VisionCounts } from './family.js';

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
  refusals(job: Question): readonly Refusal[];
}

export interface Job {
  readonly spec: RunSpec;
  readonly model: Model;
  readonly layout: Layout;
  readonly profile: RuntimeProfile;
}

/** A job before its rules are checked. */
export type Question = Omit<Job, 'profile'>;

/** A model with all that its family has of its own: files, flags, converter, rules and counts. */
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

export type JsonObject = Readonly<Record<string, JsonWithHoles>>;

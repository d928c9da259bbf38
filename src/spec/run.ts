/** RunSpec: the one document a user writes. It says what to train and how it is judged, never on which hosts. */
import { z } from 'zod';
import { DataSpec } from './data.js';
import { LayoutSpec } from './layout.js';
import { LimitsSpec } from './limits.js';
import { ModelSpec } from './model.js';
import { RuntimeSpec } from './runtime.js';
import { CheckpointSpec, TrainingSpec } from './training.js';
import { EvaluationSpec, PublishSpec } from './judging.js';

/** A run's or a model's name: it becomes part of store keys and workflow ids, so only characters that need no escaping. */
const Name = z
  .string()
  .regex(
    /^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$/,
    'must be 1 to 63 of a-z, 0-9, dot, dash and underscore, and begin and end with a letter or digit',
  );

/** Most urgent first. */
const PRIORITIES = ['high', 'normal', 'low'] as const;
export type Priority = (typeof PRIORITIES)[number];

export const RunSpec = z
  .strictObject({
    version: z.literal(1, 'must be 1, the only version of the spec there is'),
    name: Name.describe('What this fine-tune is called in lists and reports.'),
    model: ModelSpec,
    data: DataSpec,
    runtime: RuntimeSpec,
    layout: LayoutSpec,
    priority: z
      .enum(PRIORITIES, 'must be low, normal or high')
      .optional()
      .describe('Who waits for hosts: high before normal before low; left out, normal.'),
    training: TrainingSpec,
    checkpoint: CheckpointSpec,
    evaluation: EvaluationSpec.default({ heldOutFraction: 0.2, minimumAccuracy: 0, maximumSamples: 0 }),
    publish: PublishSpec,
    limits: LimitsSpec.optional(),
  })
  .describe('One fine-tune from its sources to a judged model.');
export type RunSpec = z.output<typeof RunSpec>;
/** What may stand in the YAML file: defaults may be left out. */
export type RunSpecInput = z.input<typeof RunSpec>;

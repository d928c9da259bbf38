/** From a spec to what the adapters work from; its rules are checked elsewhere. */
import { resolveLayout } from '../plan/layout.js';
import type { RunSpec } from '../spec/run.js';
import { profileFor } from './backend.js';
import type { Job } from './mindspeed/job.js';
import { modelOf } from './mindspeed/models.js';

export function jobOf(spec: RunSpec): Job {
  const model = modelOf(spec.model);
  return { spec, model, layout: resolveLayout(spec.layout, model.dimensions), profile: profileFor(spec.runtime) };
}

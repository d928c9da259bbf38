/** The plan of the smallest gang: two hosts, vision on the first and language on the second. */
import { readFileSync } from 'node:fs';
import { composePlan } from '../../src/backends/compose-plan.js';
import type { Plan } from '../../src/plan/plan.js';
import { parseSpec } from '../../src/spec/parse.js';
import type { RunSpec, RunSpecInput } from '../../src/spec/run.js';

/** The tiny model on two pipeline ranks with two virtual stages each: vision on the first stages, language on the last. */
export const TINY_VIRTUAL: NonNullable<RunSpecInput['layout']['virtualPipeline']> = {
  visionLayersPerStage: [
    [1, 1],
    [0, 0],
  ],
  languageLayersPerStage: [
    [0, 0],
    [1, 1],
  ],
};

const laptop = new URL('../../examples/laptop.yaml', import.meta.url);

export function demoSpec(): RunSpec {
  const parsed = parseSpec(readFileSync(laptop, 'utf8'), { fileName: 'laptop.yaml' });
  if ('refusals' in parsed) throw new Error(JSON.stringify(parsed.refusals));
  return parsed.spec;
}

export function demoPlan(spec: RunSpec = demoSpec()): Plan {
  const composed = composePlan(spec);
  if ('refusals' in composed) throw new Error(JSON.stringify(composed.refusals));
  return composed.plan;
}

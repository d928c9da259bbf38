/** All files of a plan for a person who runs it without Anneal: the plan, what its commands read, and the scripts in their order. */
import { type Plan, STAGE_NAMES, type StageName } from '../../plan/plan.js';
import { fileText, scriptOf } from './script.js';

export interface HandFile {
  readonly path: string;
  readonly text: string;
  readonly isScript: boolean;
}

export function handFiles(plan: Plan): readonly HandFile[] {
  return [
    file('plan.json', JSON.stringify(plan, null, 2)),
    ...STAGE_NAMES.flatMap((stage) => [
      ...plan.stages[stage].files.map(({ path, content }) => file(`${stage}/${path}`, fileText(content))),
      ...scripts(plan, stage),
    ]),
  ];
}

/** Fetching is no command of the plan: a person copies the two folders. */
function scripts(plan: Plan, stage: StageName): readonly HandFile[] {
  if (plan.stages[stage].commands.length === 0) return [];
  const number = String(STAGE_NAMES.indexOf(stage));
  if (stage !== 'train') return [script(`${number}-${stage}.sh`, scriptOf(plan, stage))];
  const digits = String(plan.gang.hosts - 1).length;
  return Array.from({ length: plan.gang.hosts }, (_, node) =>
    script(`${number}-train-node-${String(node).padStart(digits, '0')}.sh`, scriptOf(plan, stage, node)),
  );
}

function file(path: string, text: string): HandFile {
  return { path, text: `${text}\n`, isScript: false };
}

function script(path: string, text: string): HandFile {
  return { path, text, isScript: true };
}

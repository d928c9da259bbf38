/** `anneal plan FILE`: what a run of the spec would do, without starting anything. */
import { type CommandPlan, type Plan, showArgument, type StageName, STAGE_NAMES } from '../../plan/plan.js';
import { forecast, type Forecast } from '../../backends/forecast/forecast.js';
import { jobOf } from '../../backends/job-of.js';
import { CommandError, EXIT_CODES } from '../exit-codes.js';
import { readGiven } from '../given.js';
import { note, print, printJson } from '../output.js';
import { showLayers } from '../../plan/rank-table.js';
import { textTable } from '../../report/table.js';
import { type Reuse, whatIsReused } from '../reuse.js';
import { showForecast } from '../show-forecast.js';
import { planFile } from '../spec-file.js';
import { showRefusals } from '../../spec/refusal.js';
import type { WhereFlags } from '../where.js';
import { writePlan } from '../write-plan.js';

export type PlanFlags = WhereFlags & {
  readonly json?: boolean;
  readonly given?: readonly string[];
  readonly suggest?: number | true;
  readonly write?: string;
};

export async function plan(fileName: string, flags: PlanFlags): Promise<number> {
  const given = readGiven(flags.given);
  if (flags.suggest !== undefined && flags.write !== undefined)
    throw new CommandError('refused', '--suggest and --write do not go together: put a layout into the spec first.');
  if (flags.suggest !== undefined) return (await import('./suggest.js')).suggest(fileName, flags, given);
  const planned = await planFile(fileName);
  if ('refusals' in planned) {
    if (flags.json) printJson({ refusals: planned.refusals });
    else note(showRefusals(fileName, planned.refusals));
    return EXIT_CODES.refused.code;
  }
  const reuse = await whatIsReused(planned, flags);
  const isAscend = planned.spec.runtime.kind === 'ascend';
  if (!isAscend && flags.given !== undefined)
    throw new CommandError(
      'refused',
      `--given is for the forecast of an Ascend run, and ${fileName} has another runtime.`,
    );
  const foreseen = isAscend ? forecast(jobOf(planned.spec), given) : undefined;
  const written = flags.write === undefined ? undefined : await writePlan(planned.plan, flags.write);
  if (flags.json) printJson({ plan: planned.plan, reuse, forecast: foreseen, written });
  else {
    print(showPlan(planned.plan, reuse, foreseen));
    if (written !== undefined) print(`\nWritten to ${flags.write ?? ''}: ${written.join(', ')}`);
  }
  return EXIT_CODES.ok.code;
}

/** The whole plan as text: stages, ranks, what a run will need, commands. */
export function showPlan(plan: Plan, reuse: Reuse, foreseen?: Forecast): string {
  const { gang } = plan;
  const head =
    `${plan.name}: ${plan.runtime}, ${String(gang.hosts)} hosts x ${String(gang.npusPerHost)} NPUs, ` +
    `${String(gang.iterations)} iterations, saved every ${String(gang.saveEveryIterations)} (${String(gang.keepCheckpoints)} kept), published as "${plan.publishAs}"`;
  return [
    head,
    '',
    showStages(plan, reuse),
    '',
    foreseen === undefined ? showRanks(plan) : showForecast(foreseen),
    ...STAGE_NAMES.flatMap((stage) => showCommands(plan, stage)),
  ].join('\n');
}

function showStages(plan: Plan, reuse: Reuse): string {
  const rows = STAGE_NAMES.map((stage) => [stage, plan.stages[stage].inputs.join(', ') || '-', reuse[stage]]);
  return textTable(['STAGE', 'READS', 'REUSE'], rows);
}

function showRanks({ gang }: Plan): string {
  const share = (part: (typeof gang.ranks)[number]['vision']): string =>
    part === undefined
      ? '-'
      : `layers ${showLayers(part.layers)}, tp ${String(part.tensorRank)}, pp ${String(part.pipelineStage)}, dp ${String(part.dataRank)}`;
  const rows = gang.ranks.map(({ rank, nodeRank, localRank, vision, language }) => [
    String(rank),
    String(nodeRank),
    String(localRank),
    share(vision),
    share(language),
  ]);
  return textTable(['RANK', 'NODE', 'LOCAL', 'VISION', 'LANGUAGE'], rows);
}

function showCommands(plan: Plan, stage: StageName): readonly string[] {
  const { commands, files } = plan.stages[stage];
  if (commands.length === 0 && files.length === 0) return [];
  return [
    '',
    `${stage}:`,
    ...files.map(({ path }) => `  writes {work}/${path}`),
    ...commands.flatMap((command) => [`  ${showCommand(command)}`, ...showResumed(command)]),
  ];
}

function showResumed({ whenResumed }: CommandPlan): readonly string[] {
  if (whenResumed === undefined) return [];
  return [`  from a checkpoint on also: ${whenResumed.map((argument) => quote(showArgument(argument))).join(' ')}`];
}

/** As a person would type it, except that holes stand in braces. */
export function showCommand({ program, args, env }: CommandPlan): string {
  const variables = Object.entries(env).map(([name, value]) => `${name}=${quote(showArgument(value))}`);
  return [...variables, program, ...args.map((argument) => quote(showArgument(argument)))].join(' ');
}

function quote(text: string): string {
  return /^[\w@%+=:,./{}-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

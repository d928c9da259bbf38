/** Runs the commands of a stage's plan in the stage's own folder: holes filled, output shipped as the stage's log. */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { FailureType } from '../../plan/failures.js';
import { fillArgument, fillJson, type CommandPlan, type HoleValues, type StagePlan } from '../../plan/plan.js';
import { joinEnvironments } from '../../process/capture-environment.js';
import { killLeftovers } from '../../process/kill.js';
import { countOomKills, type OomCount, oomKillsSince } from '../../process/oom-kills.js';
import { CommandFailed, runCommand } from '../../process/run-command.js';
import { failure } from '../fail.js';
import type { Reporter } from '../progress.js';
import type { HostDeps } from './deps.js';
import { shipLog } from './log-shipper.js';
import { stageFolder } from './work-folders.js';

/** Exit code by which our tools say that the input is at fault, and that their last line says how. */
const REFUSED = 3;

export interface StageWork {
  readonly runId: string;
  readonly plan: StagePlan;
  readonly values: HoleValues;
}

/**
 * Empties the stage's folder and runs its commands one after another. What an earlier attempt left running is ended first,
 * since it would write into the same folder. Returns the values with `work` filled.
 */
export async function runStageCommands(
  deps: HostDeps,
  { runId, plan, values }: StageWork,
  { say, signal }: Reporter,
): Promise<HoleValues & { readonly work: string }> {
  const work = stageFolder(deps.workRoot, runId, plan.stage);
  const marker = { workRoot: deps.workRoot, runId, stage: plan.stage };
  await killLeftovers(marker);
  await rm(work, { recursive: true, force: true });
  await mkdir(work, { recursive: true });
  const filled = { trainerHome: deps.trainerHome, toolsHome: deps.toolsHome, ...values, work };
  await writePlannedFiles(plan, filled, work);
  // Beside the folder, not in it: the log must not become part of an artifact.
  const logFile = `${work}.log`;
  await rm(logFile, { force: true });
  const log = shipLog({ store: deps.store, runId, log: `${plan.stage}-${String(Date.now())}`, path: logFile });
  const oomKills = await countOomKills(process.pid);
  try {
    for (const command of plan.commands) {
      const { argv, env, cwd } = fillCommand(deps, command, filled);
      say({ message: command.program });
      await runCommand(
        { argv, env, cwd, logFile, marker, stdin: command.stdin },
        {
          signal,
          onLine: (line) => {
            say(progressOf(line));
          },
        },
      );
    }
  } catch (error) {
    if (!(error instanceof CommandFailed)) throw error;
    const [type, message] = await whyFailed(error, oomKills);
    throw failure(type, message, { rc: error.rc, tail: error.tail.slice(-10) }, error);
  } finally {
    await log.stop();
  }
  return filled;
}

/** A tool that loses a worker of its own to the kernel ends in any way, so it is the count that tells. */
async function whyFailed(error: CommandFailed, before: OomCount | undefined): Promise<[FailureType, string]> {
  if (error.rc === REFUSED) return ['DataRefused', error.tail.at(-1) ?? error.message];
  const kills = before === undefined ? 0 : await oomKillsSince(before);
  if (kills === 0) return ['CommandFailed', error.message];
  const what = kills === 1 ? 'a process' : `${String(kills)} processes`;
  return ['OutOfHostMemory', `The kernel killed ${what} of this host's agent for want of memory. ${error.message}`];
}

/** The files that a plan wants beside its commands, with their holes filled. */
export async function writePlannedFiles({ files }: StagePlan, values: HoleValues, work: string): Promise<void> {
  for (const { path, content } of files) {
    const target = join(work, path);
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, `${JSON.stringify(fillJson(content, values), null, 2)}\n`);
  }
}

export interface FilledCommand {
  readonly argv: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
}

/** Fills a command's holes; its program is the runtime's own, whatever else the PATH holds. */
export function fillCommand(
  deps: HostDeps,
  { program, args, env, cwd }: CommandPlan,
  values: HoleValues,
): FilledCommand {
  const own = Object.fromEntries(Object.entries(env).map(([name, value]) => [name, fillArgument(value, values)]));
  return {
    argv: [join(deps.runtimeBin, program), ...args.map((argument) => fillArgument(argument, values))],
    // The host's lists of places stay behind the plan's own: CANN's compiler is found by its PYTHONPATH.
    env: joinEnvironments(deps.environment, own, { PATH: deps.runtimeBin, ANNEAL_TRAINER_HOME: deps.toolsHome }),
    cwd: fillArgument(cwd, values),
  };
}

/** Tools print `<what>: 1200/5391 rows`; every other line is shown as it is, cut. */
function progressOf(line: string): { message: string; done?: number; total?: number } {
  const found = /^(\S[^:]{0,60}): (\d+)\/(\d+)\b/.exec(line);
  if (found === null) return { message: line.slice(0, 120) };
  return { message: found[1] ?? '', done: Number(found[2]), total: Number(found[3]) };
}

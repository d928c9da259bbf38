/** A stage of a plan as somebody would type its commands: its holes filled, in a folder of its own. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fillArgument, fillJson } from '../../../dist/plan/plan.js';
import { root } from '../../../scripts/lib/files.mjs';
import { run } from '../../../scripts/lib/run.mjs';
import { UserError } from '../../../scripts/lib/say.mjs';

/** @import { HoleValues, StagePlan } from '../../../dist/plan/plan.js' */
/** @typedef {HoleValues & { readonly work: string }} StageValues */
/** @typedef {{ program: string, args: string[], cwd: string, env: Record<string, string> }} Command */

export const runtimeBin = join(root, '.venv/bin');
export const trainer = join(root, 'trainer');

/**
 * Writes the stage's files, and answers with its commands.
 * @param {StagePlan} stage @param {StageValues} values @returns {Command[]}
 */
export function prepareStage({ stage, files, commands }, values) {
  mkdirSync(values.work, { recursive: true });
  for (const { path, content } of files) {
    const file = join(values.work, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, JSON.stringify(fillJson(content, values)));
  }
  return commands.map(({ program, args, env, cwd, stdin }) => {
    if (stdin !== undefined)
      throw new UserError(`Stage ${stage} answers questions of its program, which this bench does not.`);
    const filled = Object.entries(env).map(([name, value]) => [name, fillArgument(value, values)]);
    return {
      program: join(runtimeBin, program),
      args: args.map((argument) => fillArgument(argument, values)),
      cwd: fillArgument(cwd, values),
      env: {
        ...Object.fromEntries(filled),
        PATH: `${runtimeBin}:${process.env['PATH'] ?? ''}`,
        ANNEAL_TRAINER_HOME: trainer,
      },
    };
  });
}

/** @param {StagePlan} stage @param {StageValues} values */
export async function runStage(stage, values) {
  for (const { program, args, cwd, env } of prepareStage(stage, values)) {
    const result = await run(program, args, { cwd, env });
    if (result.code !== 0)
      throw new UserError(`${program} of stage ${stage.stage} ended with ${result.code}:\n${result.stderr}`);
  }
}

/** @param {string} folder */
export async function writeDigits(folder) {
  const env = { PYTHONPATH: trainer, PYTHONDONTWRITEBYTECODE: '1' };
  const written = await run(join(runtimeBin, 'python'), ['-m', 'anneal_trainer.digits', '--out', folder], { env });
  if (written.code !== 0) throw new UserError(`The data set could not be written: ${written.stderr}`);
}

/** `anneal plan --write FOLDER`: the files of a plan, into a folder that holds nothing else. */
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { handFiles } from '../backends/by-hand/files.js';
import type { Plan } from '../plan/plan.js';
import { CommandError } from './exit-codes.js';

/** Returns what was written, relative to the folder. */
export async function writePlan(plan: Plan, folder: string): Promise<readonly string[]> {
  await requireEmpty(folder);
  const files = handFiles(plan);
  for (const { path, text, isScript } of files) {
    const target = join(folder, path);
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, text, { flag: 'wx', mode: isScript ? 0o755 : 0o644 });
  }
  return files.map(({ path }) => path);
}

async function requireEmpty(folder: string): Promise<void> {
  const refuse = (why: string, cause?: unknown): never => {
    throw new CommandError('refused', `--write ${folder}: ${why} Name a new folder.`, { cause });
  };
  try {
    await mkdir(folder, { recursive: true });
    if ((await readdir(folder)).length > 0) refuse('the folder is not empty, and nothing in it is written over.');
  } catch (error) {
    if (error instanceof CommandError) throw error;
    refuse(`it cannot be made or read (${error instanceof Error ? error.message : String(error)}).`, error);
  }
}

/** `anneal worker` and `anneal agent`: the processes of a cluster, each from one settings file. */
import { dirname, resolve } from 'node:path';
import { CommandError, EXIT_CODES } from '../exit-codes.js';
import { packageVersion } from '../package-root.js';
import { AgentConfig, ControlConfig, readConfig } from '../../workers/config.js';

interface ConfigFlags {
  readonly config: string;
}

export async function worker({ config: file }: ConfigFlags): Promise<number> {
  const config = await settings(ControlConfig, file);
  const { runControlWorker } = await import('../../workers/control.js');
  await runControlWorker({ ...config, store: inFolderOf(file, config.store) });
  return EXIT_CODES.ok.code;
}

export async function agent({ config: file }: ConfigFlags): Promise<number> {
  const config = await settings(AgentConfig, file);
  const { runAgent } = await import('../../workers/agent.js');
  const at = (path: string): string => resolve(dirname(file), path);
  const paths = { workRoot: at(config.workRoot), runtimeBin: at(config.runtimeBin), trainerHome: at(config.trainerHome) };
  await runAgent({ ...config, ...paths, store: inFolderOf(file, config.store) }, packageVersion());
  return EXIT_CODES.ok.code;
}

/** Relative paths in a settings file are relative to it, not to whoever starts the process. */
function inFolderOf(file: string, { folder }: { readonly folder: string }): { folder: string } {
  return { folder: resolve(dirname(file), folder) };
}

async function settings<Shape extends typeof ControlConfig | typeof AgentConfig>(
  shape: Shape,
  file: string,
): ReturnType<typeof readConfig<Shape>> {
  try {
    return await readConfig(shape, file);
  } catch (error) {
    throw new CommandError('refused', error instanceof Error ? error.message : String(error), { cause: error });
  }
}

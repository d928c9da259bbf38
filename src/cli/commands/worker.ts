/** `anneal worker` and `anneal agent`: the processes of a cluster, each from one settings file. */
import { dirname, resolve } from 'node:path';
import { CommandError, EXIT_CODES } from '../exit-codes.js';
import { packageVersion } from '../package-root.js';
import type { StoreSettings } from '../../storage/store-settings.js';
import { AgentConfig, ControlConfig, readConfig } from '../../workers/config.js';

interface ConfigFlags {
  readonly config: string;
}

export async function worker({ config: file }: ConfigFlags): Promise<number> {
  const config = await settings(readConfig(ControlConfig, file));
  const { runControlWorker } = await import('../../workers/control.js');
  await runControlWorker({ ...config, store: inFolderOf(file, config.store) });
  return EXIT_CODES.ok.code;
}

export async function agent({ config: file }: ConfigFlags): Promise<number> {
  const config = await agentSettings(file);
  const { runAgent } = await import('../../workers/agent.js');
  await runAgent(config, packageVersion());
  return EXIT_CODES.ok.code;
}

/** Of an agent, with absolute paths. */
export async function agentSettings(file: string): Promise<AgentConfig> {
  const config = await settings(readConfig(AgentConfig, file));
  const at = (path: string): string => resolve(dirname(file), path);
  const paths = {
    workRoot: at(config.workRoot),
    runtimeBin: at(config.runtimeBin),
    trainerHome: at(config.trainerHome),
  };
  const { ascend } = config;
  const ownAscend =
    ascend === undefined ? {} : { ascend: { ...ascend, home: at(ascend.home), setEnv: ascend.setEnv.map(at) } };
  return { ...config, ...paths, ...ownAscend, store: inFolderOf(file, config.store) };
}

/** Relative paths in a settings file are relative to it, not to whoever starts the process. */
function inFolderOf(file: string, { folder, s3 }: StoreSettings): StoreSettings {
  const at = (path: string): string => resolve(dirname(file), path);
  if (s3 === undefined) return { folder: at(folder ?? '') };
  return { s3: { ...s3, ...(s3.credentialsFile === undefined ? {} : { credentialsFile: at(s3.credentialsFile) }) } };
}

/** A settings file that cannot work is the user's to put right, like a refused spec. */
async function settings<Config>(read: Promise<Config>): Promise<Config> {
  return read.catch((error: unknown) => {
    throw new CommandError('refused', error instanceof Error ? error.message : String(error), { cause: error });
  });
}

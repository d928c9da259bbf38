/** Where things lie on a host: what an agent's settings say, and where the driver puts its tools. */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { StoreSettings } from '../storage/store-settings.js';
import type { HostPlaces } from './probe-host.js';
import type { AscendPlaces } from './vendor-tools.js';

/** Of an agent's settings. */
export interface HostSettings {
  readonly runtime: 'cpu' | 'ascend';
  readonly npus: number;
  readonly workRoot: string;
  readonly runtimeBin: string;
  readonly trainerHome: string;
  readonly store: StoreSettings;
  readonly ascend?: { readonly home: string } | undefined;
}

/** Where the driver puts its tools, if they are not in PATH. */
const ASCEND_HOME = '/usr/local/Ascend';
const TOOL_FOLDERS = ['/usr/local/sbin', '/usr/local/bin', join(ASCEND_HOME, 'driver/tools')];

/** `searchPath` is a PATH. */
export function placesOf(settings: HostSettings, searchPath: string): HostPlaces {
  const { runtime, npus, workRoot, runtimeBin, store, trainerHome, ascend } = settings;
  return {
    ...{ runtime, npus, workRoot, runtimeBin, store },
    ...(runtime === 'ascend' ? { ascend: { ...ascendPlaces(searchPath, ascend?.home), trainerHome } } : {}),
  };
}

export function ascendPlaces(searchPath: string, ascendHome = ASCEND_HOME): AscendPlaces {
  return {
    npuSmi: findTool('npu-smi', searchPath) ?? '/usr/local/bin/npu-smi',
    hccnTool: findTool('hccn_tool', searchPath) ?? join(ASCEND_HOME, 'driver/tools/hccn_tool'),
    ascendHome,
  };
}

export function findTool(name: string, searchPath: string): string | undefined {
  const folders = [...searchPath.split(delimiter).filter((one) => one.startsWith('/')), ...TOOL_FOLDERS];
  return folders
    .map((folder) => join(folder, name))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

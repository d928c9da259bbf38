/** Asks the tools of an Ascend host, one call after the other, and reads its version files. Nothing here changes the host. */
import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  readAddress,
  readFec,
  readLight,
  readLink,
  readLinkLosses,
  readNetHealth,
  readTlsSwitch,
} from './hccn-tool.js';
import type { AscendReadings, AscendVersions, ChipReadings, TrainerFiles } from './host-readings.js';
import { readChipMap, readHbmErrors, readHealthDetail, readProcessMemory } from './npu-smi-fields.js';
import { readNpuTable, type NpuChip, type NpuProcess, type NpuTable } from './npu-smi-table.js';
import { type AscendPlaces, type ProbeLimits, VendorTools } from './vendor-tools.js';
import { quote, type Reading, reading, Unreadable } from './reading.js';

/**
 * A healthy npu-smi answers within a second or two; one that hangs answers never. The 114 calls of a host with 16 chips may take two thirds of a
 * second each; slower ones leave the least important unasked, since a gang waits three minutes and no longer.
 */
export const PROBE_LIMITS: ProbeLimits = { limitMs: 10_000, waitMs: 30_000, totalMs: 75_000 };

export async function probeAscend(
  places: AscendPlaces,
  limits: ProbeLimits = PROBE_LIMITS,
): Promise<Omit<AscendReadings, 'baseline'>> {
  const tools = new VendorTools(places, limits);
  const table = await tools.npuSmi(['info'], readNpuTable, { mustEndWith0: true });
  const known = await tools.npuSmi(['info', '-m'], readChipMap);
  const processes = 'unread' in table ? table : await processesOf(table.value, tools);
  const chips = 'unread' in table ? [] : await chipReadings(table.value.chips, tools);
  return { table, known, processes, chips, versions: await versionsOf(places) };
}

/** What the table does not tell of an NPU, `-t proc-mem` does. */
async function processesOf(table: NpuTable, tools: VendorTools): Promise<Reading<readonly NpuProcess[]>> {
  const told = 'value' in table.processes ? table.processes.value : { processes: [], idleNpus: [] };
  const toldNpus = new Set([...told.idleNpus, ...told.processes.map(({ npu }) => npu)]);
  const found = [...told.processes];
  for (const npu of new Set(table.chips.map((chip) => chip.npu))) {
    if (toldNpus.has(npu)) continue;
    const more = await tools.npuSmi(['info', '-t', 'proc-mem', '-i', String(npu)], (text) =>
      readProcessMemory(npu, text),
    );
    if ('unread' in more) return more;
    found.push(...more.value);
  }
  return { value: found };
}

/** One question of all chips after the other, those first that would keep a training from running. */
async function chipReadings(chips: readonly NpuChip[], tools: VendorTools): Promise<readonly ChipReadings[]> {
  const ofEach = async <T>(ask: (chip: NpuChip) => Promise<T>): Promise<(chip: NpuChip) => T> => {
    const answers = new Map<NpuChip, T>();
    for (const chip of chips) answers.set(chip, await ask(chip));
    return (chip) => answers.get(chip) as T;
  };
  const smi = <T>(chip: NpuChip, what: string, read: (text: string) => Reading<T>): Promise<Reading<T>> =>
    tools.npuSmi(['info', '-t', what, '-i', String(chip.npu), '-c', String(chip.chip)], read);
  const port = <T>({ physicalId }: NpuChip, what: string, read: (text: string) => Reading<T>): Promise<Reading<T>> =>
    tools.hccnTool(['-i', String(physicalId), what, '-g'], read);
  const links = await ofEach(async (chip) => {
    const link = await port(chip, '-link', readLink);
    const isDown = 'value' in link && link.value === 'DOWN';
    return { link, ...(isDown ? { light: await port(chip, '-optical', readLight) } : {}) };
  });
  const details = await ofEach(async (chip) =>
    chip.health === 'OK' ? {} : { detail: await smi(chip, 'health', readHealthDetail) },
  );
  const netHealth = await ofEach((chip) => port(chip, '-net_health', readNetHealth));
  const tls = await ofEach((chip) => port(chip, '-tls', readTlsSwitch));
  const address = await ofEach((chip) => port(chip, '-ip', readAddress));
  const errors = await ofEach((chip) => smi(chip, 'ecc', readHbmErrors));
  const lossesOfDay = await ofEach((chip) => port(chip, '-link_stat', readLinkLosses));
  const fec = await ofEach((chip) => port(chip, '-fec', readFec));
  return chips.map((chip) => ({
    chip,
    ...links(chip),
    ...details(chip),
    ...{ netHealth: netHealth(chip), tls: tls(chip), address: address(chip), errors: errors(chip) },
    ...{ lossesOfDay: lossesOfDay(chip), fec: fec(chip) },
  }));
}

async function versionsOf({ ascendHome, trainerHome }: AscendPlaces): Promise<AscendVersions> {
  // Newer releases first: an update may leave the older folder behind.
  const toolkits = ['cann', 'ascend-toolkit/latest'].flatMap((folder) =>
    ['aarch64-linux', 'x86_64-linux'].map((arch) => join(ascendHome, folder, arch, 'ascend_toolkit_install.info')),
  );
  return {
    driver: await versionIn([join(ascendHome, 'driver/version.info')]),
    firmware: await versionIn([join(ascendHome, 'firmware/version.info')]),
    cann: await versionIn(toolkits),
    ...(trainerHome === undefined ? {} : { trainer: await trainerFiles(trainerHome) }),
  };
}

async function versionIn(files: readonly string[]): Promise<Reading<string>> {
  for (const file of files) {
    const text = await readFile(file, 'utf8').catch(() => undefined);
    if (text === undefined) continue;
    return reading(file, () => {
      const version = /^version\s*=\s*(\S+)\s*$/im.exec(text)?.[1];
      if (version === undefined) throw new Unreadable(`no line "version=…"; it says ${quote(text.trim())}`);
      return version;
    });
  }
  return { unread: `there is no ${files.join(', no ')}` };
}

const CALLED = ['pretrain_vlm.py', 'pretrain_internvl.py', 'mindspeed_mm/tools/tools.json', 'megatron'];
/** InternVL3's fine-tuning came with it (the release before has only inference in that folder), and Dist-train went with the next one. */
export const OF_RELEASE = ['examples/internvl3/finetune_internvl3_8B.sh', 'docs/features/dist-train.md'];

async function trainerFiles(trainerHome: string): Promise<TrainerFiles> {
  return {
    missing: await missingIn(trainerHome, CALLED),
    missingOfRelease: await missingIn(trainerHome, OF_RELEASE),
    megatron: await megatronVersion(join(trainerHome, 'megatron/core/package_info.py')),
  };
}

/** Read and not imported: that would start torch. */
async function megatronVersion(file: string): Promise<Reading<string>> {
  const text = await readFile(file, 'utf8').catch(() => undefined);
  if (text === undefined) return { unread: `there is no ${file}` };
  return reading(file, () => {
    const parts = ['MAJOR', 'MINOR', 'PATCH'].map((name) => new RegExp(`^${name} = (\\d+)$`, 'm').exec(text)?.[1]);
    if (parts.includes(undefined)) throw new Unreadable('no lines "MAJOR = …", "MINOR = …" and "PATCH = …"');
    return parts.join('.');
  });
}

export async function missingIn(folder: string, names: readonly string[]): Promise<readonly string[]> {
  const isThere = (name: string): Promise<boolean> =>
    access(join(folder, name)).then(
      () => true,
      () => false,
    );
  const there = await Promise.all(names.map(isThere));
  return names.filter((_, index) => !there[index]);
}

/** What the probe of a host brings home and the checks judge: plain data, so that a check needs no host. */
import type { PortRange } from '../process/free-port.js';
import type { Link, NetHealth } from './hccn-tool.js';
import type { HbmErrors, HealthDetail, MappedChip } from './npu-smi-fields.js';
import type { NpuChip, NpuProcess, NpuTable } from './npu-smi-table.js';
import type { Reading } from './reading.js';

export interface HostReadings {
  readonly runtime: 'cpu' | 'ascend';
  /** As the agent's settings say; undefined without settings. */
  readonly npus: number | undefined;
  /** Left out where no NPU is to be looked at. */
  readonly ascend?: AscendReadings;
  /** Left out where nobody says which one is meant. */
  readonly python?: Reading<PythonReadings>;
  /** Programs of the runtime that are not there. */
  readonly missingPrograms: readonly string[];
  readonly disk: Reading<Space>;
  /** Below this a host is refused; left out, below what a training of the largest known model needs. */
  readonly leastDiskBytes?: number | undefined;
  readonly shm: Reading<Space>;
  readonly ports: PortReadings;
  readonly clock: Reading<ClockReadings>;
  /** By how much at least the clock is ahead of that of Temporal's server (negative: behind); left out where nobody asks from there. */
  readonly clockAheadMs?: number | undefined;
  /** Left out without settings that name one. */
  readonly store?: Reading<string>;
}

export interface AscendReadings {
  readonly table: Reading<NpuTable>;
  readonly known: Reading<readonly MappedChip[]>;
  readonly processes: Reading<readonly NpuProcess[]>;
  readonly chips: readonly ChipReadings[];
  readonly versions: AscendVersions;
  /** Left out while nobody has recorded it. */
  readonly baseline?: Reading<IdleBaseline>;
}

export interface ChipReadings {
  readonly chip: NpuChip;
  /** Asked only of a chip that is not OK. */
  readonly detail?: Reading<HealthDetail>;
  readonly errors: Reading<HbmErrors>;
  /** How many more could not be corrected than a day ago; left out while nobody has looked before. */
  readonly errorsOfDay?: number;
  readonly link: Reading<Link>;
  /** Asked only of a link that is down. */
  readonly light?: Reading<boolean>;
  readonly netHealth: Reading<NetHealth>;
  readonly address: Reading<string | null>;
  readonly tls: Reading<boolean>;
  readonly fec: Reading<string>;
  readonly lossesOfDay: Reading<number>;
}

export interface AscendVersions {
  readonly driver: Reading<string>;
  readonly firmware: Reading<string>;
  readonly cann: Reading<string>;
  /** Left out without settings that say where it lies. */
  readonly trainer?: TrainerFiles;
}

/** MindSpeed MM carries no number of its release: what lies there tells it. */
export interface TrainerFiles {
  /** Of what a training calls. */
  readonly missing: readonly string[];
  /** Of what only release 2.2.0 has together. */
  readonly missingOfRelease: readonly string[];
  /** Of the folder that was copied in. */
  readonly megatron: Reading<string>;
}

/** HBM of each chip while nothing ran, by its address on the bus. */
export interface IdleBaseline {
  readonly driver: string;
  readonly at: string;
  readonly usedMb: Readonly<Record<string, number>>;
}

export interface PythonReadings {
  readonly version: string;
  /** Version of each package; null = not installed. */
  readonly packages: Readonly<Record<string, string | null>>;
}

export interface Space {
  readonly path: string;
  readonly freeBytes: number;
  readonly totalBytes: number;
}

export interface PortReadings {
  readonly ephemeral: PortRange;
  readonly reserved: readonly PortRange[];
  readonly listening: Reading<readonly number[]>;
  /** One that a rendezvous could have now. */
  readonly rendezvous: Reading<number>;
}

export interface ClockReadings {
  readonly isSynchronised: boolean;
  readonly maxErrorMs: number;
}

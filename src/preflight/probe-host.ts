/** Looks at one host: all readings that the checks judge. It changes nothing there. */
import { join } from 'node:path';
import type { StoreSettings } from '../storage/store-settings.js';
import { missingIn, probeAscend } from './ascend-probe.js';
import { readBaseline } from './baseline.js';
import { errorsOfDay, readErrorHistory } from './error-history.js';
import { ASCEND_PACKAGES, OPTIONAL_PACKAGES, PACKAGES, PROGRAMS } from './host-checks.js';
import { lookWithPython, portReadings, reachStore, spaceAt } from './host-probe.js';
import type { AscendReadings, ChipReadings, HostReadings } from './host-readings.js';
import { valueOf } from './reading.js';
import type { AscendPlaces, ProbeLimits } from './vendor-tools.js';

export interface HostPlaces {
  readonly runtime: HostReadings['runtime'];
  readonly npus?: number | undefined;
  readonly workRoot: string;
  readonly leastDiskBytes?: number;
  /** Undefined: nobody says which Python is meant. */
  readonly runtimeBin?: string | undefined;
  readonly store?: StoreSettings | undefined;
  /** Left out where no NPU is to be looked at. */
  readonly ascend?: AscendPlaces | undefined;
}

/** Of the system, for the clock alone. */
const ANY_PYTHON = 'python3';

export async function probeHost(places: HostPlaces, limits?: ProbeLimits): Promise<HostReadings> {
  const { runtime, npus, workRoot, leastDiskBytes, runtimeBin, store } = places;
  const packages = runtime === 'ascend' ? [...ASCEND_PACKAGES, ...OPTIONAL_PACKAGES] : PACKAGES;
  const [ascend, look, disk, shm, ports, reached] = await Promise.all([
    places.ascend === undefined ? undefined : withMemories(places.ascend, workRoot, limits),
    lookWithPython(runtimeBin === undefined ? ANY_PYTHON : join(runtimeBin, 'python'), packages),
    spaceAt(workRoot),
    spaceAt('/dev/shm'),
    portReadings(),
    store === undefined ? undefined : reachStore(store),
  ]);
  // A runtime that is not there says nothing of the clock.
  const { clock } = 'unread' in look.python && runtimeBin !== undefined ? await lookWithPython(ANY_PYTHON, []) : look;
  return {
    ...{ runtime, npus, disk, leastDiskBytes, shm, ports, clock },
    ...(ascend === undefined ? {} : { ascend }),
    ...(runtimeBin === undefined ? {} : { python: look.python }),
    missingPrograms: runtimeBin === undefined ? [] : await missingIn(runtimeBin, PROGRAMS),
    ...(reached === undefined ? {} : { store: reached }),
  };
}

/** With what earlier looks have left in the work root. */
async function withMemories(
  places: AscendPlaces,
  workRoot: string,
  limits: ProbeLimits | undefined,
): Promise<AscendReadings> {
  const readings = await probeAscend(places, limits);
  const baseline = await readBaseline(workRoot);
  const history = await readErrorHistory(workRoot);
  const chips = readings.chips.map((one): ChipReadings => {
    const count = valueOf(one.errors)?.doubleBit;
    const ofDay = count === undefined ? undefined : errorsOfDay(history, one.chip.busId, count, Date.now());
    return ofDay === undefined ? one : { ...one, errorsOfDay: ofDay };
  });
  return { ...readings, chips, ...(baseline === undefined ? {} : { baseline }) };
}

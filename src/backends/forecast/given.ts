/** What no spec says and no plan can know: numbers of the site, given by name. */

export const GIVEN_NAMES = {
  rows: 'rows of the data set before any are held out',
  iterationSeconds: 'how long one iteration takes',
  saveSeconds: 'how long training stands still for one save',
  restartSeconds: 'from a failure to the first new iteration',
  hostMtbfDays: 'mean time between the failures of one host',
  npuMemoryGib: 'memory of one NPU',
  hostMemoryGb: 'memory of the host that converts',
  storeGb: 'room for this run in the store',
  hostDiskGb: 'free space of a host below its work root',
} as const;
export type GivenName = keyof typeof GIVEN_NAMES;
export type Given = Readonly<Partial<Record<GivenName, number>>>;

/** A number with where it comes from, so that nobody takes an assumption for a measurement. */
export interface Sourced {
  readonly value: number;
  readonly source: string;
}

export function sourced(given: Given, name: GivenName): Sourced | undefined {
  const value = given[name];
  return value === undefined ? undefined : { value, source: 'given' };
}

export const ASSUMED = {
  // 65536 MB of HBM, of which an idle board reserves 3 to 4 GB.
  npuMemoryGib: { value: 60, source: 'assumed: an Atlas 800T A2 with 64 GiB, less what an idle board reserves' },
  // Llama 3: 419 unexpected interruptions in 54 days on 2,048 hosts, so 264 days a host.
  hostMtbfDays: { value: 26, source: 'assumed: a tenth of what Llama 3 saw (264 days a host)' },
  restartSeconds: { value: 600, source: 'assumed: ten minutes' },
} as const satisfies Partial<Record<GivenName, Sourced>>;

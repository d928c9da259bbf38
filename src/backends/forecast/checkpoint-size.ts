/** How large a checkpoint is, and how much of it lies at once in the store and on the fullest host. */
import { nodeOf, positionOf, ranksOf, sum } from '../../plan/layout.js';
import { towerOf } from '../../plan/rank-table.js';
import type { Job } from '../mindspeed/job.js';
import { modelAdapters, rankAdapters } from './adapters.js';
import { type Given, sourced, type Sourced } from './given.js';
import { modelParameters, type PartCounts, rankParameters } from './parameters.js';

export interface Checkpoint {
  readonly bytes: number;
  readonly weightsBytes: number;
  readonly optimizerBytes: number;
  /** Those that are kept, and the one that is just being shipped. */
  readonly mostAtOnce: number;
  readonly storeBytes: number;
  readonly storeGb?: Sourced;
  /** Of the host that writes most of each save. */
  readonly hostBytes: number;
  readonly hostDiskGb?: Sourced;
}

const BF16 = 2;
/** fp32 weights and two moments. */
const OPTIMIZER_BYTES = 12;
/** With a store that is slower than the saves: the newest that all have shipped, two on their way, and the two newest, of which one is being written. */
const SAVES_ON_A_HOST = 5;

export function checkpointOf(job: Job, given: Given): Checkpoint {
  const { spec, model } = job;
  const { lora } = spec.model;
  const saved = lora === undefined ? modelParameters(model) : modelAdapters(model, lora);
  const { weightsBytes, optimizerBytes } = bytesOf(job, saved);
  const mostAtOnce = spec.checkpoint.keep + 1;
  const [storeGb, hostDiskGb] = [sourced(given, 'storeGb'), sourced(given, 'hostDiskGb')];
  return {
    bytes: weightsBytes + optimizerBytes,
    weightsBytes,
    optimizerBytes,
    mostAtOnce,
    storeBytes: mostAtOnce * (weightsBytes + optimizerBytes),
    ...(storeGb === undefined ? {} : { storeGb }),
    hostBytes: SAVES_ON_A_HOST * mostOfOneHost(job),
    ...(hostDiskGb === undefined ? {} : { hostDiskGb }),
  };
}

/** Of all parameters, or of the adapters: a tower that is frozen has none. */
function bytesOf({ spec }: Job, counts: PartCounts): Pick<Checkpoint, 'weightsBytes' | 'optimizerBytes'> {
  const parts = ['vision', 'projector', 'language'] as const;
  const count = (names: readonly (typeof parts)[number][]): number => sum(names.map((part) => counts[part]));
  const trained = parts.filter((part) => !spec.model.freeze.includes(part));
  return {
    weightsBytes: BF16 * count(spec.model.lora === undefined ? parts : trained),
    optimizerBytes: OPTIMIZER_BYTES * count(trained),
  };
}

/** Of each tensor rank and stage the first replica writes, wherever it is. */
function mostOfOneHost(job: Job): number {
  const { layout, model, spec } = job;
  const { lora } = spec.model;
  const hosts = new Array<number>(layout.hosts).fill(0);
  for (const rank of ranksOf(layout)) {
    const { contextRank, dataRank } = positionOf(towerOf(layout, rank.rank), rank.rank);
    if (contextRank > 0 || dataRank > 0) continue;
    const saved = lora === undefined ? rankParameters(layout, model, rank) : rankAdapters(layout, model, rank, lora);
    const { weightsBytes, optimizerBytes } = bytesOf(job, saved);
    const node = nodeOf(layout, rank.rank);
    hosts[node] = (hosts[node] ?? 0) + weightsBytes + optimizerBytes;
  }
  return Math.max(...hosts);
}

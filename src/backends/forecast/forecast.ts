/** What a run on Ascend will need, before it takes anything: ranks, memory, disk, epochs, and how often to save. Nothing of it enters the plan. */
import { sum } from '../../plan/layout.js';
import { rankTable, type RankRow } from '../../plan/rank-table.js';
import { hasDistributedOptimizer } from '../../spec/runtime.js';
import type { Job } from '../mindspeed/job.js';
import { recomputedTowers } from '../mindspeed/recompute.js';
import { checkpointOf, type Checkpoint } from './checkpoint-size.js';
import { ASSUMED, type Given, sourced, type Sourced } from './given.js';
import { memoryOfRanks, type MemoryQuestion, type RankMemory } from './memory.js';
import { modelParameters } from './parameters.js';
import { savingOf, type Saving } from './saving.js';

export interface Forecast {
  readonly ranks: readonly RankRow[];
  readonly memory: readonly RankMemory[];
  readonly npuMemory: Sourced;
  readonly images: { readonly tokensPerTile: number; readonly mostTiles: number; readonly mostTokens: number };
  readonly conversion: { readonly hostMemoryBytes: number; readonly hostMemoryGb?: Sourced };
  readonly checkpoint: Checkpoint;
  readonly epoch?: Epoch;
  readonly saving: Saving;
  /** What will not fit. No refusals: these numbers are estimates. */
  readonly warnings: readonly string[];
}
export interface Epoch {
  readonly rows: Sourced;
  /** About: images are held out with all their rows. */
  readonly trainedRows: number;
  readonly iterations: number;
  readonly epochs: number;
}
const BF16 = 2;
const GIB = 2 ** 30;
const GB = 1e9;

export function forecast(job: Job, given: Given): Forecast {
  const found = foretell(job, given);
  return { ...found, warnings: warningsOf(found) };
}

function foretell(job: Job, given: Given): Omit<Forecast, 'warnings'> {
  const { tokensPerTile, tiles } = job.model.image(job.spec);
  const hostMemoryGb = sourced(given, 'hostMemoryGb');
  const epoch = epochOf(job, given);
  return {
    ranks: rankTable(job.layout),
    memory: memoryOfRanks(memoryQuestion(job)),
    npuMemory: sourced(given, 'npuMemoryGib') ?? ASSUMED.npuMemoryGib,
    images: { tokensPerTile, mostTiles: tiles, mostTokens: tiles * tokensPerTile },
    conversion: { hostMemoryBytes: conversionBytes(job), ...(hostMemoryGb === undefined ? {} : { hostMemoryGb }) },
    checkpoint: checkpointOf(job, given),
    ...(epoch === undefined ? {} : { epoch }),
    saving: savingOf(job, given),
  };
}

function warningsOf({ memory, npuMemory, conversion, checkpoint }: Omit<Forecast, 'warnings'>): readonly string[] {
  const full = memory.filter(({ peak }) => peak > npuMemory.value * GIB);
  const most = Math.max(...memory.map(({ peak }) => peak));
  const found: string[] = [];
  if (full.length > 0)
    found.push(
      `Up to ${(most / GIB).toFixed(1)} GiB on ${full.length === 1 ? 'rank' : 'ranks'} ${showRanks(full.map(({ rank }) => rank))}, ` +
        `but an NPU has ${String(npuMemory.value)} GiB. Use more stages or tensor ranks, fewer layers there, or a shorter training.sequenceLength.`,
    );
  if (conversion.hostMemoryGb !== undefined && conversion.hostMemoryBytes > conversion.hostMemoryGb.value * GB)
    found.push(
      `The conversion needs about ${(conversion.hostMemoryBytes / GB).toFixed(0)} GB of host memory, but the host has ` +
        `${String(conversion.hostMemoryGb.value)}. Convert on a larger host.`,
    );
  if (checkpoint.storeGb !== undefined && checkpoint.storeBytes > checkpoint.storeGb.value * GB)
    found.push(
      `${String(checkpoint.mostAtOnce)} checkpoints at once need ${(checkpoint.storeBytes / GB).toFixed(0)} GB of the store, but it has ` +
        `${String(checkpoint.storeGb.value)}. Lower checkpoint.keep, freeze a tower, or make room.`,
    );
  if (checkpoint.hostDiskGb !== undefined && checkpoint.hostBytes > checkpoint.hostDiskGb.value * GB)
    found.push(
      `With a slow store saves need up to ${(checkpoint.hostBytes / GB).toFixed(0)} GB on the fullest host, but a host has ` +
        `${String(checkpoint.hostDiskGb.value)} free. Put workRoot on a larger disk, or spread the stages over more hosts.`,
    );
  return found;
}

/** `0-3, 8` */
export function showRanks(ranks: readonly number[]): string {
  const runs: [number, number][] = [];
  for (const rank of ranks) {
    const last = runs.at(-1);
    if (last?.[1] === rank - 1) last[1] = rank;
    else runs.push([rank, rank]);
  }
  return runs.map(([first, end]) => (first === end ? String(first) : `${String(first)}-${String(end)}`)).join(', ');
}

/** The longest row that the spec allows, with the largest image. */
export function memoryQuestion(job: Job): MemoryQuestion {
  const { spec, model, layout } = job;
  const { tiles, patchesPerTile } = model.image(spec);
  return {
    layout,
    model,
    freeze: spec.model.freeze,
    lora: spec.model.lora,
    recomputed: recomputedTowers(job),
    sequenceParallel: spec.layout.sequenceParallel,
    distributedOptimizer: hasDistributedOptimizer(spec.runtime),
    microBatchSize: spec.training.microBatchSize,
    globalBatchSize: spec.training.globalBatchSize,
    tokens: spec.training.sequenceLength,
    patches: tiles * patchesPerTile,
  };
}

/** Measured on mm-convert: up to twice the weights at tensor size 1, three times above (it copies what it splits). */
function conversionBytes({ layout, model }: Job): number {
  const weights = BF16 * sum(Object.values(modelParameters(model)));
  return weights * (!layout.distTrain && layout.language.tensorParallel > 1 ? 3 : 2);
}

/** Nothing without the number of rows: nobody has read the data yet. */
function epochOf({ spec, layout }: Job, given: Given): Epoch | undefined {
  const { maximumRows } = spec.data;
  const atMost = maximumRows === 0 ? undefined : { value: maximumRows, source: 'data.maximumRows' };
  const rows = sourced(given, 'rows') ?? atMost;
  if (rows === undefined) return undefined;
  const taken = maximumRows === 0 ? rows.value : Math.min(rows.value, maximumRows);
  const { globalBatchSize, microBatchSize, iterations } = spec.training;
  // What does not fill a micro-batch on every replica is left out of each epoch.
  const step = microBatchSize * Math.max(layout.vision.dataParallel, layout.language.dataParallel);
  const trainedRows = Math.floor((taken * (1 - spec.evaluation.heldOutFraction)) / step) * step;
  return {
    rows,
    trainedRows,
    iterations: trainedRows / globalBatchSize,
    epochs: trainedRows === 0 ? Infinity : (iterations * globalBatchSize) / trainedRows,
  };
}

/** The forecast of a run on Ascend as a person reads it in `anneal plan`. */
import { type Forecast, showRanks } from '../backends/forecast/forecast.js';
import type { RankMemory } from '../backends/forecast/memory.js';
import type { Sourced } from '../backends/forecast/given.js';
import { duration, percent } from '../plan/numbers.js';
import { showLayers, type RankModule, type RankRow } from '../plan/rank-table.js';
import { textTable } from '../report/table.js';

export function showForecast(forecast: Forecast): string {
  return [
    showRankTable(forecast.ranks),
    '',
    'Memory of each NPU in GiB (estimated, never measured on this layout):',
    showMemory(forecast.memory),
    ...showNumbers(forecast),
    ...forecast.warnings.map((warning) => `WARNING: ${warning}`),
  ].join('\n');
}

function showRankTable(ranks: readonly RankRow[]): string {
  const size = (axis: 'tensorRank' | 'contextRank' | 'dataRank'): ((row: RankRow) => string) => {
    const group = { tensorRank: 'tensorGroup', contextRank: 'contextGroup', dataRank: 'dataGroup' } as const;
    return (row) => `${String(row[axis])} of ${String(row[group[axis]].length)}`;
  };
  const neighbour = (rank: number | null, others: readonly number[]): string =>
    rank === null ? listRanks(others) || '-' : String(rank);
  // With Dist-train the last vision stage and the first language stage are each other's.
  const flow = ({ previousStage, nextStage, otherTower, modules }: RankRow): string => {
    const isVision = modules.some(({ module }) => module === 'vision');
    return `${neighbour(previousStage, isVision ? [] : otherTower)} > ${neighbour(nextStage, isVision ? otherTower : [])}`;
  };
  const rows = ranks.map((row) => [
    String(row.rank),
    String(row.node),
    String(row.device),
    row.modules.map(showModule).join(', '),
    size('tensorRank')(row),
    size('contextRank')(row),
    size('dataRank')(row),
    String(row.pipelineStage),
    flow(row),
    listRanks(row.tensorGroup),
    listRanks(row.contextGroup),
    listRanks(row.dataGroup),
  ]);
  return textTable(
    ['RANK', 'NODE', 'NPU', 'HOLDS', 'TP', 'CP', 'DP', 'STAGE', 'FROM > TO', 'TP GROUP', 'CP GROUP', 'DP GROUP'],
    rows,
  );
}

function showModule({ module, layers }: RankModule): string {
  return layers === undefined ? module : `${module} ${showLayers(layers)}`;
}

/** Ranks in a row as a range; ranks at a distance one by one. */
function listRanks(ranks: readonly number[]): string {
  return showRanks(ranks).replaceAll(', ', ',');
}

/** Ranks that need the same share a line. */
function showMemory(memory: readonly RankMemory[]): string {
  const lines = new Map<string, { readonly ranks: number[]; readonly cells: readonly string[] }>();
  for (const one of memory) {
    const { weights, gradients, optimizer, languageActivations, visionActivations, loss } = one;
    const cells = [weights, gradients, optimizer, languageActivations, visionActivations, loss, one.peak].map(gib);
    const line = lines.get(cells.join());
    if (line === undefined) lines.set(cells.join(), { ranks: [one.rank], cells });
    else line.ranks.push(one.rank);
  }
  return textTable(
    ['RANKS', 'WEIGHTS', 'GRADIENTS', 'OPTIMIZER', 'LANGUAGE', 'VISION', 'LOSS', 'AT MOST'],
    [...lines.values()].map(({ ranks, cells }) => [showRanks(ranks), ...cells]),
  );
}

function showNumbers({ npuMemory, images, conversion, checkpoint, epoch, saving }: Forecast): readonly string[] {
  return [
    `An NPU has ${String(npuMemory.value)} GiB (${npuMemory.source}).`,
    '',
    images.mostTiles === 1
      ? `An image is up to ${String(images.mostTokens)} tokens.`
      : `An image is up to ${String(images.mostTiles)} tiles of ${String(images.tokensPerTile)} tokens: ${String(images.mostTokens)} tokens.`,
    `The conversion needs about ${gigabytes(conversion.hostMemoryBytes)} of host memory.`,
    `A checkpoint is ${gigabytes(checkpoint.bytes)} (weights ${gigabytes(checkpoint.weightsBytes)}, optimizer ${gigabytes(checkpoint.optimizerBytes)}); ` +
      `the store holds up to ${String(checkpoint.mostAtOnce)} at once, ${gigabytes(checkpoint.storeBytes)}; ` +
      `the fullest host up to ${gigabytes(checkpoint.hostBytes)} of saves while the store is slow.`,
    epoch === undefined
      ? 'Epochs: unknown; give the rows of the data set (--given rows=NUMBER).'
      : `An epoch is about ${String(epoch.trainedRows)} rows, ${epoch.iterations.toFixed(1)} iterations; this run sees the data ${epoch.epochs.toFixed(1)} times.`,
    ...showSaving(saving),
  ];
}

function showSaving({ inputs, missing, best }: Forecast['saving']): readonly string[] {
  const known = Object.entries(inputs).map(([name, input]) => `  ${name} ${showSourced(input)}`);
  if (best === undefined)
    return [
      `Save interval: unknown; give ${missing.map((name) => `--given ${name}=NUMBER`).join(' and ')}. Known are:`,
      ...known,
    ];
  return [
    `Save interval: every ${String(best.iterations)} iterations (Daly ${duration(best.dalySeconds)}, Young ${duration(best.youngSeconds)}; ` +
      `the gang fails every ${(best.mtbfSeconds / 86_400).toFixed(1)} days) loses ${percent(best.lostShare)}, as planned ${percent(best.lostShareAsPlanned)}. From:`,
    ...known,
  ];
}

function showSourced({ value, source }: Sourced): string {
  return `${String(Math.round(value * 10) / 10)} (${source})`;
}

function gib(bytes: number): string {
  return (bytes / 2 ** 30).toFixed(1);
}

/** Of adapters a checkpoint is less than one. */
function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(bytes < 1e10 ? 1 : 0)} GB`;
}

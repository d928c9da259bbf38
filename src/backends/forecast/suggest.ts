/**
 * Layouts for a number of hosts, best first. Nothing here is measured: work is counted in floating-point operations, so it says how
 * long NPUs wait for each other and nothing of what they say to each other. Hence the order below prefers fewer tensor ranks.
 */
import { checkLayout } from '../../plan/layout-rules.js';
import { resolveLayout, type Layout } from '../../plan/layout.js';
import { percent } from '../../plan/numbers.js';
import type { LayoutSpec } from '../../spec/layout.js';
import type { Job } from '../mindspeed/job.js';
import { untrained } from '../mindspeed/lora.js';
import { memoryQuestion } from './forecast.js';
import { ASSUMED, type Given } from './given.js';
import { mostMemory } from './memory.js';
import { costs, idle, share } from './work.js';

export interface Suggestion {
  readonly layout: LayoutSpec;
  readonly dataParallel: number;
  /** The share of the NPUs' time that is work; the rest they wait for each other. */
  readonly work: number;
  readonly peakBytes: number;
  readonly fits: boolean;
  readonly why: string;
}
export interface Suggestions {
  readonly ranked: readonly Suggestion[];
  /** Layouts that were looked at and cannot be: their batch does not divide, or a rule of the trainer forbids them. */
  readonly refused: number;
  /** Layouts that can be, but not in the memory of an NPU. */
  readonly tooLarge: number;
}

/** What comes so near to the best counts as equally good: the work that is counted leaves out more than that. */
const CLASS = 0.1;
const MOST_SHOWN = 10;
/** Of a spec. */
const MOST_STAGES = 64;
const GIB = 2 ** 30;

/** `job` names model, batch and NPUs per host; its own layout does not matter. */
export function suggestLayouts(job: Job, hosts: number, given: Given): Suggestions {
  const room = (given.npuMemoryGib ?? ASSUMED.npuMemoryGib.value) * GIB;
  const judged = candidates(job, hosts).map((layout) => judge(job, layout, room));
  const possible = judged.filter((one) => one !== undefined);
  const fitting = possible.filter(({ fits }) => fits);
  const best = Math.max(...fitting.map(({ work }) => work));
  const ranked =
    fitting.length > 0
      ? fitting.toSorted((a, b) => order(a, b, best))
      : possible.toSorted((a, b) => a.peakBytes - b.peakBytes);
  return {
    ranked: ranked.slice(0, MOST_SHOWN),
    refused: judged.length - possible.length,
    tooLarge: possible.length - fitting.length,
  };
}

/** By classes of work; then tensors in fewer pieces, both towers together, and more room. */
function order(a: Suggestion, b: Suggestion, best: number): number {
  const classOf = ({ work }: Suggestion): number => Math.floor((best - work) / CLASS);
  return (
    classOf(a) - classOf(b) ||
    tensorOf(a.layout) - tensorOf(b.layout) ||
    Number(a.layout.distTrain !== undefined) - Number(b.layout.distTrain !== undefined) ||
    a.peakBytes - b.peakBytes
  );
}

function tensorOf({ tensorParallel, distTrain }: LayoutSpec): number {
  return distTrain?.language.tensorParallel ?? tensorParallel;
}

function candidates(job: Job, hosts: number): readonly LayoutSpec[] {
  const { npusPerHost } = job.spec.layout;
  const { language, vision } = job.model.dimensions;
  const worldSize = hosts * npusPerHost;
  const cost = costs(job);
  const base = { hosts, npusPerHost, contextParallel: 1, sequenceParallel: false };
  // Tensor ranks talk in every layer, so they stay inside one host.
  return divisors(npusPerHost).flatMap((tensorParallel) =>
    divisors(worldSize / tensorParallel).flatMap((dataParallel): LayoutSpec[] => {
      const pieces = worldSize / tensorParallel / dataParallel;
      const found: LayoutSpec[] = [];
      const mostStages = Math.min(language.layers, MOST_STAGES);
      if (pieces <= mostStages)
        found.push({
          ...base,
          tensorParallel,
          visionLayersPerStage: [vision.layers, ...Array.from({ length: pieces - 1 }, () => 0)],
          languageLayersPerStage: share(language.layers, pieces, cost, cost.vision),
        });
      // Ranks of a replica that language leaves over see; they hold the vision tower whole.
      for (let stages = 1; stages < pieces && stages <= mostStages; stages += 1)
        found.push({
          ...base,
          tensorParallel: 1,
          distTrain: {
            vision: { npus: dataParallel * tensorParallel * (pieces - stages), tensorParallel: 1 },
            language: {
              npus: dataParallel * tensorParallel * stages,
              tensorParallel,
              layersPerStage: share(language.layers, stages, cost, 0),
            },
          },
        });
      return found;
    }),
  );
}

function judge(job: Job, layoutSpec: LayoutSpec, room: number): Suggestion | undefined {
  const layout = resolveLayout(layoutSpec, job.model.dimensions);
  const { training, model } = job.spec;
  const refusals = checkLayout({
    layout,
    dimensions: job.model.dimensions,
    freeze: untrained(model),
    globalBatchSize: training.globalBatchSize,
    microBatchSize: training.microBatchSize,
    sequenceLength: training.sequenceLength,
  });
  if (refusals.length > 0 || job.profile.refusals({ ...job, layout }).length > 0) return undefined;
  const peakBytes = mostMemory(memoryQuestion({ ...job, layout }));
  const { bubble, waiting } = idle(job, layout);
  return {
    layout: layoutSpec,
    dataParallel: layout.language.dataParallel,
    work: (1 - bubble) * (1 - waiting),
    peakBytes,
    fits: peakBytes <= room,
    why: whyOf(layout, { bubble, waiting, peakBytes, room }),
  };
}

interface Reasons {
  readonly bubble: number;
  readonly waiting: number;
  readonly peakBytes: number;
  readonly room: number;
}

function whyOf({ language, distTrain }: Layout, { bubble, waiting, peakBytes, room }: Reasons): string {
  const free = (room - peakBytes) / GIB;
  const tensors = language.tensorParallel;
  return [
    free >= 0 ? `${free.toFixed(0)} GiB are left on the fullest NPU` : `${(-free).toFixed(0)} GiB too large`,
    language.layersPerStage.length === 1 && !distTrain
      ? 'no pipeline to fill'
      : `the pipeline is not full for ${percent(bubble)} of the time`,
    `stages wait for the fullest for ${percent(waiting)}`,
    tensors === 1 ? 'no tensor is split' : `each layer waits for ${String(tensors)} NPUs of a host`,
    ...(distTrain ? ['vision has ranks of its own, which upstream never wired for InternVL3'] : []),
  ].join('; ');
}

function divisors(value: number): number[] {
  return Array.from({ length: value }, (_, index) => index + 1).filter((candidate) => value % candidate === 0);
}

/** How a layout is written in one line. */
export function showLayout({ tensorParallel, languageLayersPerStage, distTrain }: LayoutSpec): string {
  const stages = (layers: readonly number[] | undefined): string => JSON.stringify(layers ?? []);
  return distTrain === undefined
    ? `TP ${String(tensorParallel)}, stages ${stages(languageLayersPerStage)}`
    : `vision ${String(distTrain.vision.npus)} NPUs, language ${String(distTrain.language.npus)}: ` +
        `TP ${String(distTrain.language.tensorParallel)}, stages ${stages(distTrain.language.layersPerStage)}`;
}

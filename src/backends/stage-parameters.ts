/**
 * What enters the key of each stage beside the digests of its inputs: every value that changes the result and nothing that does
 * not. How often a run saves, how many checkpoints it keeps, its name and its gate are not here.
 */
import type { JsonWithHoles, StageName } from '../plan/plan.js';
import { layerRows, type TowerLayout } from '../plan/layout.js';
import { featuresOf } from '../spec/runtime.js';
import type { SourceSpec } from '../spec/source.js';
import type { Job } from './mindspeed/job.js';
import { targetsOf } from './mindspeed/lora.js';
import { SPLIT_SEED } from './tools.js';

export function stageParameters(job: Job): Readonly<Record<StageName, JsonWithHoles>> {
  const { spec, layout, profile } = job;
  const { release } = profile;
  // Where training begins is told by the digest of what was converted.
  const { initFrom, ...training } = spec.training;
  const { lora } = spec.model;
  const split = {
    distTrain: layout.distTrain,
    vision: splitOf(layout.vision),
    language: splitOf(layout.language),
  };
  return {
    fetch: {
      model: sourceParameters(spec.model.source),
      data: sourceParameters(spec.data.source),
      ...(initFrom === undefined ? {} : { start: sourceParameters(initFrom) }),
    },
    convert: { release, split },
    prepare: {
      release,
      meta: spec.data.meta ?? null,
      sequenceLength: spec.training.sequenceLength,
      ...job.model.preparing(spec).parameters,
      heldOutFraction: spec.evaluation.heldOutFraction,
      splitSeed: SPLIT_SEED,
      maximumBadRows: spec.data.maximumBadRows,
      maximumRows: spec.data.maximumRows,
    },
    train: {
      release,
      model: job.model.modelJson(job),
      data: job.model.dataJson(job),
      // Which host a rank sits on changes nothing; how many ranks share the sums does.
      vision: towerParameters(layout.vision),
      language: towerParameters(layout.language),
      training,
      ...featureParameters(job),
      ...(lora === undefined ? {} : { lora: { ...lora, targets: targetsOf(lora) } }),
    },
    publish: { release, split, ...(lora === undefined ? {} : { lora: { rank: lora.rank, alpha: lora.alpha } }) },
    evaluate: { release, maximumSamples: spec.evaluation.maximumSamples },
  };
}

function splitOf(tower: TowerLayout): JsonWithHoles {
  const rows = layerRows(tower);
  return { tensorParallel: tower.tensorParallel, layersPerStage: rows.length === 1 ? tower.layersPerStage : rows };
}

/** Only what is asked for: a spec that asks for nothing has the key that it had before there was anything to ask for. */
function featureParameters({ spec }: Job): Readonly<Record<string, JsonWithHoles>> {
  const asked = { ...featuresOf(spec.runtime), ...(spec.layout.sequenceParallel ? { sequenceParallel: true } : {}) };
  const features = JSON.parse(JSON.stringify(asked)) as Readonly<Record<string, JsonWithHoles>>;
  return Object.keys(features).length === 0 ? {} : { features };
}

function towerParameters(tower: TowerLayout): JsonWithHoles {
  const { tensorParallel, contextParallel, dataParallel, layersPerStage } = tower;
  return { tensorParallel, contextParallel, dataParallel, layersPerStage };
}

function sourceParameters({ uri, files, revision }: SourceSpec): JsonWithHoles {
  return {
    uri,
    files: files?.map(({ path, sha256 }) => ({ path, sha256: sha256 ?? null })) ?? null,
    revision: revision ?? null,
  };
}

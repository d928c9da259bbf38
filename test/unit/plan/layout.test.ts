import { describe, expect, test } from 'vitest';
import { INTERNVL_PRESETS } from '../../../src/backends/mindspeed/internvl/presets.js';
import { checkpointFiles, releaseFiles } from '../../../src/plan/checkpoint-files.js';
import { ranksOf, reportingNode, resolveLayout } from '../../../src/plan/layout.js';
import { LayoutSpec } from '../../../src/spec/layout.js';
import type { RankShare } from '../../../src/plan/plan.js';

type Input = Parameters<typeof LayoutSpec.parse>[0];
const layoutOf = (input: Input, preset: keyof typeof INTERNVL_PRESETS = 'internvl3-tiny') =>
  resolveLayout(LayoutSpec.parse(input), INTERNVL_PRESETS[preset].dimensions);

/** `vit t0 d1 p0 [0,2]`: one line a share, so that a table can be read. */
const show = (name: string, share: RankShare | undefined): string =>
  share === undefined
    ? ''
    : `${name} t${String(share.tensorRank)} c${String(share.contextRank)} d${String(share.dataRank)} p${String(share.pipelineStage)} [${share.layers.join(',')}]`;
const table = (layout: ReturnType<typeof layoutOf>): string[] =>
  ranksOf(layout).map((rank) =>
    [`${String(rank.nodeRank)}.${String(rank.localRank)}`, show('vit', rank.vision), show('gpt', rank.language)]
      .filter((part) => part !== '')
      .join(' '),
  );

describe('ranks', () => {
  test('the demo gives vision to the first host and language to the second, which reports iterations', () => {
    const layout = layoutOf({ hosts: 2, npusPerHost: 1, distTrain: { vision: { npus: 1 }, language: { npus: 1 } } });
    expect(table(layout)).toEqual(['0.0 vit t0 c0 d0 p0 [0,2]', '1.0 gpt t0 c0 d0 p0 [0,2]']);
    expect(reportingNode(layout)).toBe(1);
  });

  test('the published InternVL3-8B layout puts data ranks side by side and all vision on the first stage', () => {
    const layout = layoutOf(
      { hosts: 1, npusPerHost: 8, visionLayersPerStage: [24, 0, 0, 0], languageLayersPerStage: [6, 8, 8, 6] },
      'internvl3-8b',
    );
    expect(layout.language.dataParallel).toBe(2);
    expect(table(layout)).toEqual([
      '0.0 vit t0 c0 d0 p0 [0,24] gpt t0 c0 d0 p0 [0,6]',
      '0.1 vit t0 c0 d1 p0 [0,24] gpt t0 c0 d1 p0 [0,6]',
      '0.2 gpt t0 c0 d0 p1 [6,14]',
      '0.3 gpt t0 c0 d1 p1 [6,14]',
      '0.4 gpt t0 c0 d0 p2 [14,22]',
      '0.5 gpt t0 c0 d1 p2 [14,22]',
      '0.6 gpt t0 c0 d0 p3 [22,28]',
      '0.7 gpt t0 c0 d1 p3 [22,28]',
    ]);
  });

  test('without distTrain the order is tensor, context, data, pipeline', () => {
    const layout = layoutOf(
      {
        hosts: 2,
        npusPerHost: 8,
        tensorParallel: 2,
        contextParallel: 2,
        visionLayersPerStage: [2, 0],
        languageLayersPerStage: [1, 1],
      },
      'internvl3-tiny',
    );
    expect(table(layout).map((line) => line.replace(/ vit [^\]]*\]/, ''))).toEqual([
      '0.0 gpt t0 c0 d0 p0 [0,1]',
      '0.1 gpt t1 c0 d0 p0 [0,1]',
      '0.2 gpt t0 c1 d0 p0 [0,1]',
      '0.3 gpt t1 c1 d0 p0 [0,1]',
      '0.4 gpt t0 c0 d1 p0 [0,1]',
      '0.5 gpt t1 c0 d1 p0 [0,1]',
      '0.6 gpt t0 c1 d1 p0 [0,1]',
      '0.7 gpt t1 c1 d1 p0 [0,1]',
      '1.0 gpt t0 c0 d0 p1 [1,2]',
      '1.1 gpt t1 c0 d0 p1 [1,2]',
      '1.2 gpt t0 c1 d0 p1 [1,2]',
      '1.3 gpt t1 c1 d0 p1 [1,2]',
      '1.4 gpt t0 c0 d1 p1 [1,2]',
      '1.5 gpt t1 c0 d1 p1 [1,2]',
      '1.6 gpt t0 c1 d1 p1 [1,2]',
      '1.7 gpt t1 c1 d1 p1 [1,2]',
    ]);
  });

  test("with distTrain each tower's ranks count from its own first rank (MindSpeed's example: vit 1, gpt PP3)", () => {
    const layout = layoutOf(
      {
        hosts: 2,
        npusPerHost: 2,
        distTrain: { vision: { npus: 1 }, language: { npus: 3, layersPerStage: [10, 12, 6] } },
      },
      'internvl3-8b',
    );
    expect(table(layout)).toEqual([
      '0.0 vit t0 c0 d0 p0 [0,24]',
      '0.1 gpt t0 c0 d0 p0 [0,10]',
      '1.0 gpt t0 c0 d0 p1 [10,22]',
      '1.1 gpt t0 c0 d0 p2 [22,28]',
    ]);
  });
});

describe('files', () => {
  test('the demo saves a folder per tower, each written and read by the node of its tower', () => {
    const layout = layoutOf({ hosts: 2, npusPerHost: 1, distTrain: { vision: { npus: 1 }, language: { npus: 1 } } });
    expect(checkpointFiles(layout, { distributedOptimizer: true })).toEqual([
      { path: 'mp_vit_rank_00/model_optim_rng.pt', writtenBy: 0, readBy: [0] },
      { path: 'mp_vit_rank_00/distrib_optim.pt', writtenBy: 0, readBy: [0] },
      { path: 'mp_gpt_rank_00/model_optim_rng.pt', writtenBy: 1, readBy: [1] },
      { path: 'mp_gpt_rank_00/distrib_optim.pt', writtenBy: 1, readBy: [1] },
    ]);
    expect(releaseFiles(layout)).toEqual([
      { path: 'mp_vit_rank_00/model_optim_rng.pt', writtenBy: 0, readBy: [0] },
      { path: 'mp_gpt_rank_00/model_optim_rng.pt', writtenBy: 0, readBy: [1] },
    ]);
  });

  test('replicas on two hosts share a folder: data rank 0 writes it, both hosts read it', () => {
    const layout = layoutOf({ hosts: 2, npusPerHost: 1 });
    expect(checkpointFiles(layout, { distributedOptimizer: false })).toEqual([
      { path: 'mp_rank_00/model_optim_rng.pt', writtenBy: 0, readBy: [0, 1] },
    ]);
  });

  test('tensor and pipeline positions are in the folder name, the pipeline only where there is one', () => {
    const layout = layoutOf(
      { hosts: 2, npusPerHost: 8, tensorParallel: 8, visionLayersPerStage: [45, 0], languageLayersPerStage: [40, 40] },
      'internvl3-78b',
    );
    const files = checkpointFiles(layout, { distributedOptimizer: false });
    expect(files).toHaveLength(16);
    expect(files[0]).toEqual({ path: 'mp_rank_00_000/model_optim_rng.pt', writtenBy: 0, readBy: [0] });
    expect(files[15]).toEqual({ path: 'mp_rank_07_001/model_optim_rng.pt', writtenBy: 1, readBy: [1] });
  });

  test('a Dist-train tower with one stage has no pipeline number even beside one with three', () => {
    const layout = layoutOf(
      {
        hosts: 4,
        npusPerHost: 1,
        distTrain: { vision: { npus: 1 }, language: { npus: 3, layersPerStage: [1, 1, 0] } },
      },
      'internvl3-tiny',
    );
    expect(releaseFiles(layout).map(({ path, readBy }) => `${path} ${readBy.join(',')}`)).toEqual([
      'mp_vit_rank_00/model_optim_rng.pt 0',
      'mp_gpt_rank_00_000/model_optim_rng.pt 1',
      'mp_gpt_rank_00_001/model_optim_rng.pt 2',
      'mp_gpt_rank_00_002/model_optim_rng.pt 3',
    ]);
  });
});

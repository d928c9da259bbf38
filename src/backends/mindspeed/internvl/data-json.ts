/** data.json, as the trainer reads it: where the prepared rows lie, and how an image becomes pixels. */
import type { JsonWithHoles } from '../../../plan/plan.js';
import { featuresOf } from '../../../spec/runtime.js';
import type { Job, JsonObject } from '../job.js';
import type { InternvlPreset } from './presets.js';
import { tilesPerImage } from './tiles.js';

/** ImageNet's mean and deviation per colour, as InternViT was trained with. */
const MEAN = [0.485, 0.456, 0.406] as const;
const DEVIATION = [0.229, 0.224, 0.225] as const;

/** `--mm-data`. */
export function dataJson(preset: InternvlPreset, job: Job): JsonObject {
  const { vision, language, downsampleRatio } = preset.dimensions;
  const tiles = tilesPerImage(preset, job.spec);
  const manyTiles = tiles > 1;
  return {
    dataset_param: {
      dataset_type: 'multimodal',
      basic_parameters: {
        data_path: { hole: 'dataset', then: '/train.jsonl' },
        data_folder: { hole: 'dataset', then: '/images/' },
        repeat_time: 1,
      },
      preprocess_parameters: {
        image_reader_type: 'torchvision',
        train_pipeline: { image: imagePipeline(vision.imageSize) },
      },
      tokenizer_config: {
        hub_backend: 'hf',
        autotokenizer_name: 'AutoTokenizer',
        from_pretrained: { hole: 'baseModel' },
        add_eos_token: false,
        use_fast: false,
      },
      use_text_processer: true,
      template_name: 'internvl2_5',
      patch_size: vision.patchSize,
      image_size: vision.imageSize,
      down_sample_ratio: downsampleRatio,
      group_by_length: true,
      dynamic_image_size: manyTiles,
      use_thumbnail: manyTiles,
      min_dynamic_patch: 1,
      max_dynamic_patch: tiles,
      min_num_frame: 4,
      max_num_frame: 12,
      sampling_method: 'rand',
    },
    dataloader_param: {
      dataloader_mode: 'sampler',
      shuffle: true,
      drop_last: true,
      pin_memory: true,
      ...sampler(job),
      collate_param: { model_name: 'internvl', pad_id: language.paddingTokenId },
    },
  };
}

/** Buckets of rows whose images are cut alike, or, in each batch, rows sorted by the number of their tiles. */
function sampler({ spec }: Job): JsonObject {
  const { dataBuckets } = featuresOf(spec.runtime);
  if (dataBuckets === undefined) return { sampler_type: 'BaseRandomBatchSampler' };
  const mode = { speed: 'data_bucketing_img', accuracy: 'data_reordering_img' }[dataBuckets];
  return { sampler_type: 'BucketBatchSampler', priority_mode: mode };
}

function imagePipeline(size: number): JsonWithHoles {
  return [
    { trans_type: 'Pad2Square', param: { mean: MEAN } },
    { trans_type: 'Resize', param: { size: [size, size], interpolation: 'BICUBIC', antialias: null } },
    { trans_type: 'ToTensor' },
    { trans_type: 'norm_fun', param: { mean: MEAN, std: DEVIATION } },
  ];
}

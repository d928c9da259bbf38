/** data.json of Qwen2.5-VL: its rows are tokenized by Hugging Face's `datasets` when a trainer starts, and kept below `work`. */
import type { JsonObject } from '../job.js';
import { MOST_PIXELS } from './image.js';

/** `--mm-data`. */
export function dataJson(): JsonObject {
  return {
    dataset_param: {
      dataset_type: 'huggingface',
      preprocess_parameters: {
        // Tokenizer and image processor.
        model_name_or_path: { hole: 'baseModel' },
        use_fast_tokenizer: true,
        split_special_tokens: false,
        image_max_pixels: MOST_PIXELS,
        image_min_pixels: 0,
        video_max_pixels: 16384,
        video_min_pixels: 0,
        video_fps: 2,
        video_maxlen: 64,
      },
      basic_parameters: {
        template: 'qwen2vl',
        // Image paths of the rows start here.
        dataset_dir: { hole: 'dataset', then: '/images' },
        dataset: { hole: 'dataset', then: '/train.jsonl' },
        // Of this host and generation alone: two that write to one folder destroy each other's files.
        cache_dir: { hole: 'work', then: '/rows' },
        train_on_prompt: false,
        mask_history: false,
        preprocessing_batch_size: 1000,
        preprocessing_num_workers: 16,
        max_samples: null,
        tool_format: null,
      },
      attr: {
        system: null,
        images: 'images',
        videos: null,
        messages: 'messages',
        role_tag: 'role',
        content_tag: 'content',
        user_tag: 'user',
        assistant_tag: 'assistant',
        observation_tag: null,
        function_tag: null,
        system_tag: null,
      },
    },
    dataloader_param: {
      dataloader_mode: 'sampler',
      drop_last: true,
      sampler_type: 'BaseRandomBatchSampler',
      collate_param: { model_name: 'qwen2vl', ignore_pad_token_for_loss: true },
      pin_memory: true,
      shuffle: true,
    },
  };
}

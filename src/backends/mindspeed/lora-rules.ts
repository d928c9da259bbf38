/**
 * What cannot go with adapters on Ascend. MindSpeed MM 2.2.0 has them for every model that Megatron's get_model builds: it wraps that
 * function (tasks/finetune/lora/lora_patch.py), and peft 0.7.1 wraps Megatron's split layers. Its list of models that were tuned so is shorter.
 */
import type { Refusal } from '../../spec/refusal.js';
import type { Question } from './job.js';
import { recomputedTowers } from './recompute.js';

export function loraRules(question: Question): readonly Refusal[] {
  if (question.spec.model.lora === undefined) return [];
  return [...layoutRules(question), ...recomputeRules(question), ...tensorRules(question), ...tiedRules(question)];
}

function layoutRules({ spec, layout }: Question): Refusal[] {
  const found: Refusal[] = [];
  if (layout.distTrain)
    found.push({
      path: 'layout.distTrain',
      value: spec.layout.distTrain,
      rule: 'must be left out with model.lora: nothing in MindSpeed MM 2.2.0 says that both work together',
      remedy: 'Use visionLayersPerStage and languageLayersPerStage.',
    });
  // lora_patch.py, line 160: it renames state_dict['model'], and with virtual stages there are model0 and model1.
  if (layout.virtualStages > 1)
    found.push({
      path: 'layout.virtualPipeline',
      value: spec.layout.virtualPipeline,
      rule: 'must be left out with model.lora: MindSpeed MM 2.2.0 looks for the one "model" of a checkpoint, and virtual stages have several',
      remedy: 'Use visionLayersPerStage and languageLayersPerStage.',
    });
  return found;
}

/** peft marks no adapter as one of a split sequence, so finalize_model_grads.py (line 204) sums none of them over the tensor ranks. */
function tensorRules({ spec, layout, model }: Question): Refusal[] {
  const found: Refusal[] = [];
  if (spec.layout.sequenceParallel)
    found.push({
      path: 'layout.sequenceParallel',
      value: true,
      rule: 'must be false with model.lora: each tensor rank would train its copy of an adapter on its own part of the sequence, and nothing sums them',
      remedy: 'Leave it out.',
    });
  // --unaligned-linear gives QKV uneven heads and an adapter even rows (unaligned_layers/adaptor.py: fusion_number).
  const { tensorParallel } = layout.vision;
  const { attentionHeads } = model.dimensions.vision;
  if (!spec.model.freeze.includes('vision') && attentionHeads % tensorParallel !== 0)
    found.push({
      path: 'layout.tensorParallel',
      value: tensorParallel,
      rule: `must divide the ${String(attentionHeads)} attention heads of the vision tower with model.lora: an adapter is cut evenly, and the heads would not be`,
      remedy: 'Freeze the vision tower, or use a size that divides.',
    });
  return found;
}

/** Only the text's embedding is hooked to begin a gradient (lora_patch.py, line 98): Megatron's recomputing gives none for an input without one. */
function recomputeRules({ spec, model }: Question): Refusal[] {
  if (spec.model.freeze.includes('vision') || !recomputedTowers({ spec, model }).includes('vision')) return [];
  return [
    {
      path: 'runtime.recompute.vision',
      value: spec.runtime.kind === 'ascend' ? spec.runtime.recompute?.vision : undefined,
      rule: 'must be left out with model.lora: images need no gradient, so adapters of a recomputed vision tower would get none, without a word',
      remedy: 'Give runtime.recompute without vision, or freeze the vision tower.',
    },
  ];
}

/** finalize_model_grads.py, line 148: the sum over both ends of the pipeline wants a gradient of the shared embedding, which is frozen. */
function tiedRules({ model, layout }: Question): Refusal[] {
  if (!model.dimensions.language.tieWordEmbeddings || layout.language.pipelineParallel === 1) return [];
  return [
    {
      path: 'layout.languageLayersPerStage',
      value: layout.language.layersPerStage,
      rule: 'must be one stage with model.lora and this model: its output layer is its embedding, whose gradient Megatron sums over the pipeline and would not find',
      remedy: 'Use one stage, and tensorParallel instead.',
    },
  ];
}

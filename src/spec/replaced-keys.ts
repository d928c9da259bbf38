/** Words of other guides that MindSpeed MM 2.2.0 has nothing for, or refuses, each with what stands in a spec instead. */

const VIRTUAL = [
  'must not be there: MindSpeed MM 2.2.0 raises on --num-layers-per-virtual-pipeline-stage and --num-virtual-stages-per-pipeline-rank as deprecated',
  'Name the layers of every virtual stage in layout.virtualPipeline, one row for each.',
] as const;

const REPLACED: Readonly<Record<string, readonly [rule: string, remedy: string]>> = {
  numlayerspervirtualpipelinestage: VIRTUAL,
  numvirtualstagesperpipelinerank: VIRTUAL,
  ...Object.fromEntries(
    ['lora', 'loraR', 'loraRank', 'loraAlpha', 'loraDropout', 'loraTargetModules', 'loadBaseModel'].map((key) => [
      key.toLowerCase(),
      [
        'must not be there: LoRA is a group of the model, and the base model is found by itself',
        'Write model.lora with rank and alpha.',
      ] as const,
    ]),
  ),
  worldindex: [
    'must not be there: Dist-train knows no world_index and numbers the ranks itself, vision first',
    'Remove it; layout.distTrain needs npus of both towers.',
  ],
};

/** Rule and remedy for a key, however it is spelled; undefined for a key that is none of these. */
export function replacedKey(key: string): readonly [rule: string, remedy: string] | undefined {
  const word = key.toLowerCase().replaceAll(/[-_]/g, '');
  return Object.hasOwn(REPLACED, word) ? REPLACED[word] : undefined;
}

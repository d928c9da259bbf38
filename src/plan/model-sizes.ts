/** The sizes that every model has, whatever its family: what layouts, their rules and the forecast read. */

export interface TowerSizes {
  readonly layers: number;
  readonly hiddenSize: number;
  readonly ffnHiddenSize: number;
  readonly attentionHeads: number;
}

export interface LanguageSizes extends TowerSizes {
  readonly keyValueHeads: number;
  readonly vocabularySize: number;
  readonly maxPositions: number;
  readonly rotaryBase: number;
  readonly tieWordEmbeddings: boolean;
}

export interface ModelSizes {
  readonly vision: TowerSizes;
  readonly language: LanguageSizes;
}

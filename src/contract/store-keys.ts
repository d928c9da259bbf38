/** Where things lie in the store (design: "immutable files and create-once facts"). One place, so that no key is spelled twice. */

export const runFolder = (runId: string): string => `runs/${runId}/`;
export const specKey = (runId: string): string => `${runFolder(runId)}spec.json`;
export const planKey = (runId: string): string => `${runFolder(runId)}plan.json`;
export const runLogPrefix = (runId: string): string => `${runFolder(runId)}log/`;
export const resumePrefix = (stageKey: string): string => `resume/${stageKey}/`;
export const MODELS_PREFIX = 'models/';
export const promotionPrefix = (model: string): string => `${MODELS_PREFIX}${model}/`;
export const retrainPrefix = (model: string): string => `retrains/${model}/`;
/** A spec that is read before its run exists, by its digest. */
export const looseSpecKey = (digest: string): string => `specs/${digest}.json`;

export const checkpointsFolder = (runId: string): string => `${runFolder(runId)}checkpoints/`;
/** One folder per generation: iterations return after a roll-back, generations do not. */
export const generationFolder = (runId: string, generation: number): string =>
  `${checkpointsFolder(runId)}g${String(generation)}/`;
export const checkpointPrefix = (runId: string, generation: number, iteration: number): string =>
  `${generationFolder(runId, generation)}iter_${String(iteration).padStart(7, '0')}/`;

/** Beside a checkpoint's files: node 0's word that the iteration is saved, each node's list, and the whole. */
export const savedName = 'SAVED.json';
export const nodeManifestName = (nodeRank: number): string => `node-${String(nodeRank)}.json`;
export const checkpointManifestName = 'manifest.json';

/** Chunks of a log, named by the offset of their first byte, so that a chunk sent twice is the same object. */
export const logChunkKey = (runId: string, log: string, offset: number): string =>
  `${logPrefix(runId, log)}${String(offset).padStart(12, '0')}.log`;
export const logPrefix = (runId: string, log: string): string => `${runFolder(runId)}logs/${log}/`;
/** What a trainer prints and measures, by generation and node. */
export const trainLogName = (generation: number, nodeRank: number): string =>
  `train-g${String(generation)}-node${String(nodeRank)}`;
export const metricsLogName = (generation: number): string => `metrics-g${String(generation)}`;

/** An incident, once when it was decided on, and once more when its cost in time is known; both together as one object at the end. */
export const incidentsPrefix = (runId: string): string => `${runFolder(runId)}incidents/`;
/** What the hosts of a broken generation knew, one folder for each node. */
export const incidentFolder = (runId: string, generation: number): string =>
  `${incidentsPrefix(runId)}${String(generation).padStart(6, '0')}/`;
export const incidentNodeFolder = (runId: string, generation: number, nodeRank: number): string =>
  `${incidentFolder(runId, generation)}node-${String(nodeRank)}/`;
export const finishedIncidentsKey = (runId: string, lastGeneration?: number): string =>
  `${runFolder(runId)}incidents${lastGeneration === undefined ? '' : `-g${String(lastGeneration)}`}.jsonl`;

/** The loss record of a training that has ended; of one that went on after that, the longer record by its last generation. */
export const finishedMetricsKey = (runId: string, lastGeneration?: number): string =>
  `${runFolder(runId)}metrics${lastGeneration === undefined ? '' : `-g${String(lastGeneration)}`}.jsonl`;

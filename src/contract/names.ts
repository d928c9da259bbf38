/** Names that cross a process: task queues, workflow ids, search attributes. A change here is a change of the wire format. */

/** Workflows and light activities. */
export const controlQueue = (cluster: string): string => `control/${cluster}`;
/** Work on a host's NPUs; only the holder of the host's lease sends there. */
export const npuQueue = (cluster: string, host: string): string => `npu/${cluster}/${host}`;
/** Staging, stopping and inspecting on a host; never waits behind a training. */
export const ioQueue = (cluster: string, host: string): string => `io/${cluster}/${host}`;

export const runWorkflowId = (runId: string): string => `run/${runId}`;
export const trainWorkflowId = (runId: string): string => `run/${runId}/train`;
export const poolWorkflowId = (cluster: string): string => `pool/${cluster}`;

/** Of a schedule, and what the ids of its retrains begin with: one name is one schedule in the whole namespace. */
export const retrainWorkflowId = (schedule: string): string => `retrain/${schedule}`;
/** The server appends the time of the firing: `retrain/nightly-2026-11-25T03:00:00Z` is the run `nightly-2026-11-25t03-00-00z`. */
export const retrainRunId = (workflowId: string): string =>
  workflowId.slice(retrainWorkflowId('').length).toLowerCase().replaceAll(':', '-');
/** A promotion by hand; `request` is unique, so that asking twice is choosing once. */
export const choiceWorkflowId = (request: string): string => `choice/${request}`;

/** Search attributes by name and type, registered by `anneal dev` and `anneal cluster init`. */
export const SEARCH_ATTRIBUTES = {
  AnnealRun: 'Keyword',
  AnnealName: 'Keyword',
  AnnealModel: 'Keyword',
  AnnealCluster: 'Keyword',
  AnnealStage: 'Keyword',
  AnnealOutcome: 'Keyword',
  AnnealHosts: 'KeywordList',
  /** The failures that this run's incidents had, each once. */
  AnnealFailures: 'KeywordList',
  AnnealGeneration: 'Int',
  AnnealIteration: 'Int',
} as const;
export type SearchAttributeName = keyof typeof SEARCH_ATTRIBUTES;

/** The machine-readable part of a worker's identity is only the host's name; everything else is in the pool. */
export const agentIdentity = (cluster: string, host: string, pid: number): string =>
  `agent/${cluster}/${host}@${String(pid)}`;

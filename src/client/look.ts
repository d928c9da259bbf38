/** One look at a run: what its workflows answer, and what its running activities last said. Writes nothing. */
import { type Client, WorkflowNotFoundError, type WorkflowExecutionDescription } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import type { IoActivities, NpuActivities, StageProgress, TrainProgress } from '../contract/activities.js';
import { joinWords, withWords } from '../contract/gang-story.js';
import { type GangState, QUERIES, type RunResult, type RunState } from '../contract/messages.js';
import { runWorkflowId, trainWorkflowId } from '../contract/names.js';
import type { StageName } from '../plan/plan.js';
import { RunNotFoundError } from './errors.js';
import type { Snapshot } from './events.js';
import { isNobodyToAsk } from './grpc.js';

export interface Look {
  /** Temporal's status of the run's workflow. */
  readonly running: boolean;
  /** Left out when no worker answers queries; then only the status is known. */
  readonly snapshot?: Snapshot;
}

/** Longer than a query takes after a worker's cold start (replay of a long history), short enough to say why nothing moves. */
const CALL_LIMIT_MS = 8_000;

export async function lookAt(client: Client, runId: string): Promise<Look> {
  const description = await describeRun(client, runId);
  const running = description.status.name === 'RUNNING';
  const state =
    (await ask<RunState>(client, runWorkflowId(runId), QUERIES.state)) ??
    (await endedState(client, runId, description));
  if (state === undefined) return { running };
  const train = state.stages.find(({ stage }) => stage === 'train');
  // A reused training has no gang of its own, and one that has not begun has none yet.
  const hasGang = train !== undefined && ['running', 'done', 'failed', 'stopped'].includes(train.status);
  const asked = hasGang ? await ask<GangState>(client, trainWorkflowId(runId), QUERIES.gang) : undefined;
  const said = running ? wordsOf(description) : [];
  if (running && train?.status === 'running') said.push(...(await gangWords(client, runId)));
  const trainers = said.map(({ details }) => details).filter(isTrainProgress);
  const training = furthest(trainers);
  const gang = withHeartbeats(asked ?? state.gang, trainers);
  return {
    running,
    snapshot: {
      state,
      ...(gang === undefined ? {} : { gang }),
      ...(training === undefined ? {} : { training }),
      stages: progressByStage(said),
    },
  };
}

/** The truth about a run's existence and status. */
export async function describeRun(client: Client, runId: string): Promise<WorkflowExecutionDescription> {
  try {
    return await limited(client, () => client.workflow.getHandle(runWorkflowId(runId)).describe());
  } catch (error) {
    if (error instanceof WorkflowNotFoundError)
      throw new RunNotFoundError(`There is no run "${runId}" here. "anneal runs" lists those that there are.`, {
        cause: error,
      });
    throw error;
  }
}

/** Asks a workflow; undefined when it does not exist or nobody is there to answer for it. */
async function ask<Answer>(client: Client, workflowId: string, query: string): Promise<Answer | undefined> {
  try {
    return await limited(client, () => client.workflow.getHandle(workflowId).query<Answer>(query));
  } catch (error) {
    if (error instanceof WorkflowNotFoundError || isNobodyToAsk(error)) return undefined;
    throw error;
  }
}

/** A run that ended well still tells its stages when no worker is up. */
async function endedState(
  client: Client,
  runId: string,
  description: WorkflowExecutionDescription,
): Promise<RunState | undefined> {
  if (description.status.name !== 'COMPLETED') return undefined;
  const result = await limited(
    client,
    () => client.workflow.getHandle(runWorkflowId(runId)).result() as Promise<RunResult>,
  );
  return { runId, name: runId, cluster: '', stages: result.stages, iterations: 0, outcome: result.outcome };
}

/** What a running activity last said. */
interface Words {
  readonly activity: string;
  readonly details: unknown;
}

async function gangWords(client: Client, runId: string): Promise<readonly Words[]> {
  try {
    return wordsOf(await limited(client, () => client.workflow.getHandle(trainWorkflowId(runId)).describe()));
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return [];
    throw error;
  }
}

/** What the running activities of a workflow last said. */
export function wordsOf(description: WorkflowExecutionDescription): Words[] {
  return (description.raw.pendingActivities ?? []).flatMap(({ activityType, heartbeatDetails }) => {
    const payload = heartbeatDetails?.payloads?.[0];
    if (!payload) return [];
    return [{ activity: activityType?.name ?? '', details: defaultPayloadConverter.fromPayload<unknown>(payload) }];
  });
}

/** Which stage an activity works for; activities that are not named here say nothing to a watcher. */
const STAGE_OF_ACTIVITY: Readonly<Record<string, StageName>> = {
  fetchSource: 'fetch',
  convertModel: 'convert',
  prepareData: 'prepare',
  stageIn: 'train',
  publishModel: 'publish',
  evaluateModel: 'evaluate',
} satisfies Partial<Record<keyof (IoActivities & NpuActivities), StageName>>;

function progressByStage(said: readonly Words[]): Snapshot['stages'] {
  return Object.fromEntries(
    said.flatMap(({ activity, details }) => {
      const stage = STAGE_OF_ACTIVITY[activity];
      return stage !== undefined && isStageProgress(details) ? [[stage, details]] : [];
    }),
  );
}

/** The gang itself hears its nodes with the next save; a watcher need not wait for that. */
function withHeartbeats(gang: GangState | undefined, said: readonly TrainProgress[]): GangState | undefined {
  if (gang === undefined) return undefined;
  const words = joinWords(said, gang.generation);
  return words === undefined ? gang : { ...gang, ...withWords(gang, words, Date.now()) };
}

/** Only the node that holds the last rank knows iteration and loss; the others know the last save. */
function furthest(reports: readonly TrainProgress[]): TrainProgress | undefined {
  return reports.toSorted(
    (a, b) => Number(b.loss !== undefined) - Number(a.loss !== undefined) || b.iteration - a.iteration,
  )[0];
}

const isObject = (value: unknown): value is Record<string, unknown> => value !== null && typeof value === 'object';
export const isTrainProgress = (value: unknown): value is TrainProgress =>
  isObject(value) && typeof value['iteration'] === 'number' && typeof value['phase'] === 'string';
const isStageProgress = (value: unknown): value is StageProgress =>
  isObject(value) && typeof value['message'] === 'string' && typeof value['host'] === 'string';

export async function limited<T>(client: Client, call: () => Promise<T>): Promise<T> {
  return client.connection.withDeadline(Date.now() + CALL_LIMIT_MS, call);
}

/**
 * Heartbeats by task token that the server answers. An answer proves that this attempt still owns the trainer, so only an
 * answer renews the lease, dated when the question was *sent*. The ordinary heartbeat goes beside it: it keeps the SDK's own
 * timer quiet and brings its signals, but says nothing about whether it arrived.
 */
import { Context } from '@temporalio/activity';
import {
  ActivityCancelledError,
  ActivityNotFoundError,
  ActivityPausedError,
  ActivityResetError,
  type Client,
  type WorkflowExecutionDescription,
} from '@temporalio/client';
import type { TrainProgress } from '../../contract/activities.js';
import { monotonicSeconds } from '../../process/wait.js';

const BEAT_MS = 2000;
/** A beat that is not answered by then counts as lost; the next one asks anew. */
const ANSWER_MS = 3000;

/** What the beats say about the attempt: go on, end the trainer, or leave it alone and return. */
export type Interruption = { readonly kind: 'stop' } | { readonly kind: 'detach'; readonly why: string };

export interface Beats {
  readonly client: Client;
  readonly progress: () => TrainProgress;
  /** Called with the monotonic time at which an answered beat was sent. */
  readonly renew: (sentSeconds: number) => Promise<void>;
}

/** Resolves once, when the attempt must not go on as it is. PAUSED is ignored: a paused attempt is still ours to keep alive. */
export function beat({ client, progress, renew }: Beats): { interrupted: Promise<Interruption>; end(): void } {
  const context = Context.current();
  const { taskToken, workflowExecution } = context.info;
  let settle: (interruption: Interruption) => void = () => undefined;
  const interrupted = new Promise<Interruption>((resolve) => (settle = resolve));
  let beating = false;
  const timer = setInterval(() => {
    if (beating) return;
    beating = true;
    void once().finally(() => (beating = false));
  }, BEAT_MS);

  async function once(): Promise<void> {
    const details = progress();
    const sent = monotonicSeconds();
    let isOurs = true;
    try {
      await within(ANSWER_MS, client.activity.heartbeat(taskToken, details));
    } catch (error) {
      isOurs = error instanceof ActivityPausedError;
      if (!isOurs) await judge(error);
    }
    // A disk that is full may not be so at the next beat.
    if (isOurs) await renew(sent).catch(() => undefined);
    context.heartbeat(details);
  }

  async function judge(error: unknown): Promise<void> {
    if (error instanceof ActivityCancelledError) settle({ kind: 'stop' });
    else if (error instanceof ActivityResetError) settle({ kind: 'detach', why: 'the activity was reset' });
    else if (error instanceof ActivityNotFoundError) settle(await afterNotFound());
    // Anything else is a server that does not answer: train on, but the lease is not renewed.
  }

  /** The server no longer knows this attempt: is that the run's end, or only this attempt's? */
  async function afterNotFound(): Promise<Interruption> {
    if (workflowExecution !== undefined && (await hasEnded(client, workflowExecution))) return { kind: 'stop' };
    return { kind: 'detach', why: 'the server no longer knows this attempt' };
  }

  context.cancellationSignal.addEventListener(
    'abort',
    () => {
      const details = context.cancellationDetails;
      if (details?.cancelRequested === true) settle({ kind: 'stop' });
      else if (details?.notFound === true) void afterNotFound().then(settle);
      else if (details?.paused !== true) settle({ kind: 'detach', why: 'the worker gave the attempt up' });
    },
    { once: true },
  );
  return {
    interrupted,
    end: () => {
      clearInterval(timer);
    },
  };
}

/**
 * Whether a gang's workflow is over, terminated for example, so that nobody will ask for its trainers again; also when another
 * has been started under its id since. No answer is no end: the lease decides then. Without `runId` any living workflow will do.
 */
export async function hasEnded(
  client: Client,
  { workflowId, runId }: { readonly workflowId: string; readonly runId?: string },
): Promise<boolean> {
  try {
    const now = await within(ANSWER_MS, client.workflow.getHandle(workflowId).describe());
    if (now.status.name !== 'RUNNING') return true;
    if (runId === undefined || now.runId === runId) return false;
    // Continued as new, or reset: the same gang under another run id.
    const before = await within(ANSWER_MS, client.workflow.getHandle(workflowId, runId).describe());
    return firstRunId(now) !== firstRunId(before);
  } catch {
    return false;
  }
}

function firstRunId({ raw }: WorkflowExecutionDescription): string | null | undefined {
  return raw.workflowExecutionInfo?.firstRunId;
}

/** The native connection retries inside a deadline, so the limit must be a timer of our own. */
async function within<Result>(limitMs: number, promise: Promise<Result>): Promise<Result> {
  let timer: NodeJS.Timeout | undefined;
  promise.catch(() => undefined);
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`No answer within ${String(limitMs)} ms.`));
    }, limitMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

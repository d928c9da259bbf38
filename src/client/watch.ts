/** Follows a run to its end as a stream of events; outlives a restart of the server. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import type { RunState } from '../contract/messages.js';
import { ServerUnreachableError } from './errors.js';
import { eventsBetween, remember, type RunEvent, type Snapshot } from './events.js';
import { isServerSilent } from './grpc.js';
import { lookAt, type Look } from './look.js';
import { RateWindow } from './rate.js';

export interface WatchOptions {
  /** Milliseconds between two looks. */
  readonly pollMs?: number;
  /** How long a server that does not answer is waited for, in seconds. */
  readonly patienceSeconds?: number;
  readonly signal?: AbortSignal;
}

const DEFAULT_POLL_MS = 1_000;
/** Longer than an upgrade of a control plane takes. */
const DEFAULT_PATIENCE_SECONDS = 600;

interface Looking {
  readonly client: Client;
  readonly runId: string;
  /** Says how a run ended that no worker can tell of. */
  readonly ending: () => Promise<Ending>;
}
export interface Ending {
  readonly outcome: Exclude<RunState['outcome'], 'running'>;
  readonly message: string;
}

/** Yields until the run has ended; throws what the SDK's errors name, or the signal's reason. */
export async function* watchRun(
  { client, runId, ending }: Looking,
  options: WatchOptions = {},
): AsyncGenerator<RunEvent, void, undefined> {
  const { pollMs = DEFAULT_POLL_MS, patienceSeconds = DEFAULT_PATIENCE_SECONDS, signal } = options;
  const rates = new Map<string, RateWindow>();
  let before: Snapshot | undefined;
  let silentSince: number | undefined;
  let said: string | undefined;
  for (;;) {
    signal?.throwIfAborted();
    const look = await lookAt(client, runId).catch((error: unknown) => whenSilent(error));
    if (look === 'silent') {
      silentSince ??= Date.now();
      if (Date.now() - silentSince > patienceSeconds * 1000) throw gaveUp(patienceSeconds);
      said = yield* sayOnce(said, 'Temporal does not answer, waiting');
    } else {
      silentSince = undefined;
      if (look.snapshot !== undefined) {
        said = undefined;
        for (const event of eventsBetween(before, look.snapshot)) yield withRate(event, rates);
        before = remember(before, look.snapshot);
      } else if (look.running) said = yield* sayOnce(said, 'no control worker answers for this run');
      if (!look.running) {
        yield { type: 'outcome', ...(await ending()) };
        return;
      }
    }
    await pause(pollMs, undefined, signal === undefined ? {} : { signal }).catch(() => undefined);
  }
}

function* sayOnce(said: string | undefined, reason: string): Generator<RunEvent, string> {
  if (said !== reason) yield { type: 'waiting', for: reason };
  return reason;
}

function whenSilent(error: unknown): Look | 'silent' {
  if (isServerSilent(error)) return 'silent';
  throw error;
}

function gaveUp(patienceSeconds: number): ServerUnreachableError {
  return new ServerUnreachableError(
    `Temporal did not answer for ${String(patienceSeconds)} seconds. The run goes on when it is back; watch it again then.`,
  );
}

/** Each stage has a window of its own. A trainer's own clock knows its pace better than our looks do. */
function withRate(event: RunEvent, rates: Map<string, RateWindow>): RunEvent {
  if (event.type !== 'progress' || event.done === undefined || event.total === undefined) return event;
  const rate = rates.get(event.stage) ?? new RateWindow();
  rates.set(event.stage, rate);
  return { ...event, ...rate.take(event.done, event.total, Date.now()), ...ownPace(event.perSecond) };
}

function ownPace(perSecond: number | undefined): { readonly perSecond?: number } {
  return perSecond === undefined ? {} : { perSecond };
}

/** Every time-out and retry policy of the product, one table, each with its reason. */
import type { ActivityOptions } from '@temporalio/workflow';
import type { Timing } from '../contract/activities.js';

/** Store look-ups and commits on the control queue: seconds when the store answers, retried while it does not. */
export const CONTROL: ActivityOptions = {
  startToCloseTimeout: '2 minutes', // one small object; longer means a hung connection
  retry: { initialInterval: '1 second', maximumInterval: '30 seconds' }, // the store may be away for hours: keep trying
};

/** A fact or a word of news: a gang waits for it, so a control worker that dies over it is replaced soon. */
export const FACTS: ActivityOptions = {
  startToCloseTimeout: '2 minutes', // a few small objects; longer means a hung connection
  heartbeatTimeout: '10 seconds', // it beats every second
  retry: { initialInterval: '1 second', maximumInterval: '10 seconds' }, // the store may be away for hours: keep trying
};

/** Where the answer may be that no host lives at all: a stage waits for one, but this is the question whether one does. */
export const ASK_POOL: ActivityOptions = {
  ...CONTROL,
  retry: { ...CONTROL.retry, nonRetryableErrorTypes: ['NoHost'] },
};

/** Looking for a resume point hashes the whole artifact that it finds, so it may take long and must say that it lives. */
export const VERIFY: ActivityOptions = {
  startToCloseTimeout: '6 hours', // 1 TB at 50 MB/s
  heartbeatTimeout: '1 minute', // it beats every few seconds, also while it hashes
  retry: { initialInterval: '1 second', maximumInterval: '30 seconds' },
};

/**
 * The loss record reads every chunk that the generations have shipped. It is a convenience: whoever reads can fold the same for
 * himself, so a store that is away must not hold up the end of a run.
 */
export const RECORD: ActivityOptions = {
  scheduleToCloseTimeout: '10 minutes', // some hundred thousand chunks, or a store that is back soon
  heartbeatTimeout: '1 minute', // it beats every second
  retry: { initialInterval: '1 second', maximumInterval: '30 seconds' },
};

/** Watching for something that may take days to happen: the heartbeat is the only limit that means anything. */
export const WATCH: ActivityOptions = {
  startToCloseTimeout: '10 days',
  heartbeatTimeout: '10 seconds', // beats every second or two; a dead control worker is replaced so soon
  retry: { initialInterval: '1 second', maximumInterval: '10 seconds' },
};

/**
 * A stage on a host that does not take it up within this time goes to another one. Nobody holds hosts meanwhile, and elsewhere it would begin
 * with its downloads, so an agent that is being restarted or upgraded gets the time to come back.
 */
const PICKED_UP = '1 minute';
/** In a gang everybody waits for the last one: who has not taken work up by then is asked for a sign of life, which decides. */
const GANG_PICKED_UP_SECONDS = 8;

/** Files that nobody reads any more: what cannot be deleted costs disk, and nothing waits long for it. */
export const DELETE: ActivityOptions = {
  startToCloseTimeout: '10 minutes', // tens of thousands of objects
  heartbeatTimeout: '10 seconds',
  retry: { initialInterval: '1 second', maximumInterval: '10 seconds', maximumAttempts: 3 },
};

/**
 * A stage on one host. The server repeats only what may go well later on the same host (a store or a source that is away),
 * and does so for as long as it takes; every other failure is the workflow's to decide.
 */
export const HOST_STAGE: ActivityOptions = {
  startToCloseTimeout: '24 hours', // a 157 GB model over a slow line
  scheduleToStartTimeout: PICKED_UP,
  heartbeatTimeout: '1 minute', // beats every few seconds; a minute outlives a restart of the agent
  retry: { initialInterval: '2 seconds', maximumInterval: '1 minute' },
};

/**
 * Judging holds a host of the pool, and begins anew wherever it is repeated: so a host that is lost is given back soon, and another one asked for.
 * An agent that is back by then has it again.
 */
export const EVALUATE: ActivityOptions = {
  ...HOST_STAGE,
  scheduleToStartTimeout: '20 seconds',
  heartbeatTimeout: '20 seconds',
};

/** As a stage, with the gang waiting: its silence is a question to all hosts and no answer, so it may be short. */
export const STAGE_IN: ActivityOptions = {
  ...HOST_STAGE,
  scheduleToStartTimeout: `${String(GANG_PICKED_UP_SECONDS)} seconds`,
  heartbeatTimeout: '20 seconds', // it beats every second; an agent that is back sooner has it repeated at once
};

/** A free port is found in milliseconds. */
export const RENDEZVOUS: ActivityOptions = {
  scheduleToStartTimeout: `${String(GANG_PICKED_UP_SECONDS)} seconds`,
  startToCloseTimeout: '15 seconds',
  retry: { initialInterval: '1 second', maximumAttempts: 2 }, // once more for an agent that was just restarted
};

/**
 * The look at a host before a launch: half a second without NPUs; with sixteen, a hundred questions to the vendor's tools one after the
 * other, and up to half a minute until what has just died is off the chips. Who does not answer in time is launched on unseen: whether it
 * answers at all, staging in finds out.
 */
export const CHECK: ActivityOptions = {
  scheduleToCloseTimeout: '4 minutes', // longer than all of the tools' own limits together
  scheduleToStartTimeout: '15 seconds',
  startToCloseTimeout: '3 minutes', // the longest look, with a tool that hangs in its last call, ends ten seconds before
  heartbeatTimeout: '15 seconds', // it beats every second
  retry: { initialInterval: '1 second', maximumAttempts: 2 }, // once more for an agent that was just restarted
};

/**
 * Ending what runs on a host. A frozen one may take the work up without knowing, so both limits count. Short, since a host that
 * does not answer is left to the pool, which takes it back as soon as it is heard of and grants it to nobody before.
 */
export const STOP: ActivityOptions = {
  startToCloseTimeout: '2 minutes', // 25 seconds for each trainer that was left, and there is one as a rule
  scheduleToStartTimeout: '15 seconds',
  heartbeatTimeout: '15 seconds', // it beats every second
  retry: { initialInterval: '1 second', maximumAttempts: 2 }, // once more for an agent that was just restarted
};

/**
 * A sign of life. One attempt: no answer within seconds is the answer. An agent that was just restarted has a moment to come back; a frozen
 * one may take the work up without knowing, so both limits count.
 */
export const PROBE = {
  scheduleToCloseTimeout: '12 seconds',
  scheduleToStartTimeout: '8 seconds',
  startToCloseTimeout: '8 seconds', // it reads two small files, on a host that may have more to do than it can
  retry: { maximumAttempts: 1 },
} as const satisfies ActivityOptions;

/** With the stacks of all ranks of the host, which are worth 20 seconds there, and the log on its way to the store. */
export const PROBE_STACKS: ActivityOptions = {
  scheduleToStartTimeout: '8 seconds',
  startToCloseTimeout: '1 minute',
  heartbeatTimeout: '8 seconds', // it beats every second
  retry: { maximumAttempts: 1 },
};

/**
 * A trainer is observed for as long as it runs. One attempt only: the workflow knows why an attempt ended, and schedules
 * the same work again on the same queue when silence is all it knows. A launch has no trainer to lose, and no agent that was silent before.
 */
export function observeTrainer({ attachSeconds, heartbeatSeconds }: Timing, isLaunch: boolean): ActivityOptions {
  return {
    startToCloseTimeout: '60 days', // no limit that a training could meet
    scheduleToStartTimeout: `${String(isLaunch ? Math.min(GANG_PICKED_UP_SECONDS, attachSeconds) : attachSeconds)} seconds`,
    heartbeatTimeout: `${String(heartbeatSeconds)} seconds`,
    cancellationType: 'WAIT_CANCELLATION_COMPLETED', // hosts are free only when the trainers are gone
    retry: { maximumAttempts: 1 },
  };
}

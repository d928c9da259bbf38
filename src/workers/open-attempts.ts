/**
 * The attempts that an agent has under way, each by its task token on disk: the next agent fails those that a killed one left open,
 * so that the work is scheduled again at once instead of after a heartbeat time-out.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Context } from '@temporalio/activity';
import { ActivityNotFoundError, type Client } from '@temporalio/client';
import type { ActivityExecuteInput, ActivityInboundCallsInterceptor, Next } from '@temporalio/worker';
import { failure } from '../activities/fail.js';
import { replaceFile, TEMPORARY } from '../process/trainer-files.js';

/**
 * Keeps the token from before the attempt's first act until its end. While the agent `isEnding` it stays: what an attempt then comes
 * to may not reach the server any more. A disk that does not take it is no reason to let go of a trainer: if the agent is killed meanwhile, the
 * heartbeat time-out tells of it.
 */
export class OpenAttempt implements ActivityInboundCallsInterceptor {
  readonly #folder: string;
  readonly #isEnding: () => boolean;

  constructor(folder: string, isEnding: () => boolean) {
    this.#folder = folder;
    this.#isEnding = isEnding;
  }

  async execute(input: ActivityExecuteInput, next: Next<ActivityInboundCallsInterceptor, 'execute'>): Promise<unknown> {
    const file = join(this.#folder, randomUUID());
    await keep(file, Context.current().info.base64TaskToken).catch(() => undefined);
    try {
      return await next(input);
    } finally {
      // One that stays is of an attempt that the server knows to have ended.
      if (!this.#isEnding()) await rm(file, { force: true }).catch(() => undefined);
    }
  }
}

async function keep(file: string, token: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await replaceFile(file, token, { durable: true });
}

/** What the server knows to have ended, as it does most attempts of an agent that was asked to end, is only forgotten. */
export async function endOpenAttempts(folder: string, client: Client): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    if (!name.endsWith(TEMPORARY)) await endAttempt(await readFile(join(folder, name), 'utf8'), client);
    // Of one that is not whole the attempt had not begun.
    await rm(join(folder, name));
  }
}

async function endAttempt(token: string, client: Client): Promise<void> {
  try {
    await client.activity.fail(Buffer.from(token, 'base64'), failure('AgentRestarted', 'The agent has restarted.'));
  } catch (error) {
    if (!(error instanceof ActivityNotFoundError)) throw error;
  }
}

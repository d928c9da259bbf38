/**
 * The attempts that an agent has under way, each by its task token on disk: the next agent fails those that a killed one left open,
 * so that the work is scheduled again at once instead of after a heartbeat time-out.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Context } from '@temporalio/activity';
import { ActivityNotFoundError, type Client } from '@temporalio/client';
import type { ActivityExecuteInput, ActivityInboundCallsInterceptor, Next } from '@temporalio/worker';
import { failure } from '../activities/fail.js';
import { replaceFile } from '../process/trainer-files.js';

/**
 * Keeps the token from before the attempt's first act until its end. While the agent `isEnding` it stays: what an attempt then comes
 * to may not reach the server any more.
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
    await mkdir(this.#folder, { recursive: true });
    await replaceFile(file, Context.current().info.base64TaskToken, { durable: true });
    try {
      return await next(input);
    } finally {
      if (!this.#isEnding()) await rm(file, { force: true });
    }
  }
}

/** What the server knows to have ended, as it does most attempts of an agent that was asked to end, is only forgotten. */
export async function endOpenAttempts(folder: string, client: Client): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    const token = Buffer.from(await readFile(join(folder, name), 'utf8'), 'base64');
    try {
      await client.activity.fail(token, failure('AgentRestarted', 'The agent has restarted.'));
    } catch (error) {
      if (!(error instanceof ActivityNotFoundError)) throw error;
    }
    await rm(join(folder, name));
  }
}

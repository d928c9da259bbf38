/** What an agent leaves on disk for the next one: the token of each attempt that has not ended, and of no other. */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { ActivityNotFoundError, type Client } from '@temporalio/client';
import { MockActivityEnvironment } from '@temporalio/testing';
import { expect, test } from 'vitest';
import { endOpenAttempts, OpenAttempt } from '../../../src/workers/open-attempts.js';
import { quietRuntime } from '../../support/quiet-runtime.js';
import { scratchFolder } from '../../support/scratch.js';

quietRuntime();

/** Runs a body as an agent's worker does. */
async function attempt(
  folder: string,
  token: string,
  body: () => Promise<unknown>,
  isEnding = false,
): Promise<unknown> {
  const open = new OpenAttempt(folder, () => isEnding);
  const environment = new MockActivityEnvironment({ base64TaskToken: token });
  return environment.run(() => open.execute({ args: [], headers: {} }, body));
}

async function tokens(folder: string): Promise<readonly string[]> {
  const names = await readdir(folder);
  return Promise.all(names.map((name) => readFile(`${folder}/${name}`, 'utf8')));
}

/** A server that knows some attempts; `failed` are those that were ended, with the failure's type. */
function server(...known: readonly string[]): { readonly client: Client; readonly failed: string[] } {
  const failed: string[] = [];
  const fail = (token: Uint8Array, { type }: { type: string }): Promise<void> => {
    const name = Buffer.from(token).toString('base64');
    if (!known.includes(name)) return Promise.reject(new ActivityNotFoundError('Not found'));
    failed.push(`${name} ${type}`);
    return Promise.resolve();
  };
  return { client: { activity: { fail } } as unknown as Client, failed };
}

test('a token lies there from before the first act to the end, however that is', async () => {
  const folder = await scratchFolder();
  const result = await attempt(folder, 'b25l', async () => {
    expect(await tokens(folder)).toEqual(['b25l']);
    return 'made';
  });
  expect(result).toBe('made');
  await expect(attempt(folder, 'b25l', () => Promise.reject(new Error('broken')))).rejects.toThrow('broken');
  expect(await tokens(folder)).toEqual([]);
});

test('while the agent ends it stays, since the server may not be told of the end any more', async () => {
  const folder = await scratchFolder();
  await attempt(folder, 'b25l', () => Promise.resolve(), true);
  await expect(attempt(folder, 'dHdv', () => Promise.reject(new Error('let go')), true)).rejects.toThrow('let go');
  expect((await tokens(folder)).toSorted()).toEqual(['b25l', 'dHdv']);
});

test('the next agent ends what is open, forgets what the server no longer knows, and leaves no token', async () => {
  const folder = await scratchFolder();
  let end = (): void => undefined;
  const killed = new Promise<void>((resolve) => (end = resolve));
  const attempts = ['b25l', 'dHdv'].map((token) => attempt(folder, token, () => killed));
  await expect.poll(() => tokens(folder)).toHaveLength(2);
  const { client, failed } = server('b25l');
  await endOpenAttempts(folder, client);
  expect(failed).toEqual(['b25l AgentRestarted']);
  expect(await tokens(folder)).toEqual([]);
  end();
  await Promise.all(attempts);
});

test('a host on which nothing was ever begun has nothing to end', async () => {
  const { client, failed } = server();
  await endOpenAttempts(`${await scratchFolder()}/attempts`, client);
  expect(failed).toEqual([]);
});

test('a disk that does not take the token keeps no attempt from its work', async () => {
  const file = `${await scratchFolder()}/full`;
  await writeFile(file, '');
  expect(await attempt(`${file}/attempts`, 'b25l', () => Promise.resolve('made'))).toBe('made');
});

test('of a token that was being written when the agent was killed the server is not asked: it would refuse it at every start', async () => {
  const folder = await scratchFolder();
  await mkdir(folder, { recursive: true });
  await writeFile(`${folder}/6f.tmp`, '');
  const asked = { activity: { fail: () => Promise.reject(new Error('3 INVALID_ARGUMENT: Task token not set')) } };
  await endOpenAttempts(folder, asked as unknown as Client);
  expect(await readdir(folder)).toEqual([]);
});

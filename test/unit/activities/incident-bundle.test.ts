/** What a broken generation leaves in the store: enough to find the cause, bounded, without secrets, and never in the way. */
import { mkdir, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { storeFindings } from '../../../src/activities/host/host-findings.js';
import { storeBundle } from '../../../src/activities/host/incident-bundle.js';
import type { Judgement } from '../../../src/preflight/judge.js';
import { FolderStore } from '../../../src/storage/folder-store.js';
import { StoreError } from '../../../src/storage/errors.js';
import { scratchFolder } from '../../support/scratch.js';
import { until } from '../../support/until.js';

const FOLDER = 'runs/run/incidents/000003/node-1/';
let dir: string;
let store: FolderStore;

beforeEach(async () => {
  const root = await scratchFolder();
  dir = join(root, 'trainer');
  store = new FolderStore(join(root, 'store'));
  await mkdir(dir);
});

const node = { runId: 'run', generation: 3, nodeRank: 1 };
const sick: Judgement = { isFit: false, checks: [{ check: 'ecc', state: '1 error', findings: [] }] };
const doctor = { lookOnce: () => Promise.resolve(sick) };
const bundle = (into = store): Promise<number> => storeBundle({ store: into, host: 'npu-b', node, dir, doctor });
const stored = async (name: string): Promise<string> => ((await store.read(FOLDER + name)) ?? '').toString();
const found = async (): Promise<unknown> => JSON.parse(await stored('doctor.json'));
/** What the host finds of itself comes when it comes. */
async function names(): Promise<readonly string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(FOLDER)) keys.push(key.slice(FOLDER.length));
  return keys.filter((key) => key !== 'doctor.json');
}
async function plog(name: string, text: string, at: number): Promise<void> {
  const file = join(dir, 'plog/debug/plog', name);
  await mkdir(join(file, '..'), { recursive: true });
  await writeFile(file, text);
  await utimes(file, at, at);
}

test('a host that never had the trainer has nothing to say', async () => {
  expect(await bundle()).toBe(0);
  expect(await names()).toEqual([]);
});

test('log, stacks, exit, environment and the logs of CANN and of the kernel, with an index that comes last', async () => {
  const dump = '[anneal] stacks of rank 1 (pid 7, in a driver), by py-spy:\nThread 7: notify_wait\n';
  await writeFile(join(dir, 'trainer.log'), `iteration 7\n${dump}`);
  await writeFile(join(dir, 'exit.json'), '{"reason":"exited"}');
  await plog('plog-7_1.log', '[ERROR] HCCL EI0002\n', 100);
  expect(await bundle()).toBe(6);
  expect(await names()).toEqual([
    'exit.json',
    'index.json',
    'kernel.log',
    'plog/debug/plog/plog-7_1.log',
    'stacks.log',
    'trainer.log',
  ]);
  expect(await stored('stacks.log')).toBe(dump);
  // A file, so that whoever looks for the kernel's words finds why there are none.
  expect(await stored('kernel.log')).toMatch(/^Not read: when the trainer was launched is not known\n/);
  expect(JSON.parse(await stored('index.json'))).toMatchObject({
    ...{ host: 'npu-b', generation: 3, nodeRank: 1, leftOut: [], follows: ['doctor.json'] },
    files: expect.arrayContaining([{ path: 'exit.json', bytes: 19, ofBytes: 19 }]) as unknown,
  });
});

test('of a long log the end, from the beginning of a line', async () => {
  await writeFile(join(dir, 'trainer.log'), `${'a line of twenty bytes\n'.repeat(60_000)}the last words\n`);
  await bundle();
  const text = await stored('trainer.log');
  expect(text.length).toBeLessThanOrEqual(512 * 1024);
  expect(text.length).toBeGreaterThan(500 * 1024);
  expect(text.startsWith('a line of twenty bytes\n')).toBe(true);
  expect(text.endsWith('the last words\n')).toBe(true);
});

test('of too many logs of CANN those that were written last, and the index names the rest', async () => {
  for (let index = 0; index < 60; index += 1)
    await plog(`plog-${String(index)}.log`, `${'x'.repeat(200 * 1024)}\nend of ${String(index)}\n`, 1000 + index);
  await bundle();
  const logs = (await names()).filter((name) => name.startsWith('plog/'));
  expect(logs.length).toBe(30);
  expect(logs).toContain('plog/debug/plog/plog-59.log');
  expect(logs).not.toContain('plog/debug/plog/plog-29.log');
  const { leftOut } = JSON.parse(await stored('index.json')) as { leftOut: readonly string[] };
  expect(leftOut).toHaveLength(30);
  expect(leftOut[0]).toBe('plog/debug/plog/plog-29.log');
});

test('what a trainer was started with, without what is secret', async () => {
  const env = {
    ...{ HCCL_CONNECT_TIMEOUT: '1200', OBS_SECRET_ACCESS: 'hunter2', HF_TOKEN: 'hunter2', API_KEY: 'hunter2' },
    HTTPS_PROXY: 'http://me:hunter2@proxy.example:3128/',
    KEYBOARD: 'kept',
  };
  await writeFile(join(dir, 'launch.json'), JSON.stringify({ argv: ['torchrun'], cwd: '/mm', env, lockFile: '/l' }));
  await bundle();
  const text = await stored('launch.json');
  expect(text).not.toContain('hunter2');
  expect(JSON.parse(text)).toEqual({
    ...{ argv: ['torchrun'], cwd: '/mm' },
    env: {
      ...{
        HCCL_CONNECT_TIMEOUT: '1200',
        OBS_SECRET_ACCESS: '(left out)',
        HF_TOKEN: '(left out)',
        API_KEY: '(left out)',
      },
      ...{ HTTPS_PROXY: 'http://(left out)@proxy.example:3128/', KEYBOARD: 'kept' },
    },
  });
});

describe('what the host finds of itself', () => {
  test('follows the rest, which does not wait for it', async () => {
    await writeFile(join(dir, 'trainer.log'), 'words\n');
    let end: (found: Judgement) => void = () => undefined;
    const looking = new Promise<Judgement>((resolve) => (end = resolve));
    await storeBundle({ store, host: 'npu-b', node, dir, doctor: { lookOnce: () => looking } });
    expect(await names()).toEqual(['index.json', 'kernel.log', 'trainer.log']);
    expect(await stored('doctor.json')).toBe('');
    end(sick);
    await until('it is there', 5_000, async () => (await stored('doctor.json')) || undefined);
    expect(await found()).toEqual({ host: 'npu-b', since: expect.any(String) as string, ...sick });
  });

  test.each([
    ['fails', () => Promise.reject(new Error('no npu-smi')), 'The look failed: Error: no npu-smi'],
    ['does not end', () => new Promise<never>(() => undefined), 'The look had not ended after 0.05 s.'],
  ])('is said to be missing when the look %s', async (_, lookOnce, notLooked) => {
    await storeFindings({ store, host: 'npu-b', node, doctor: { lookOnce } }, 50);
    expect(await found()).toEqual({ host: 'npu-b', since: expect.any(String) as string, notLooked });
  });
});

describe('a store', () => {
  test('that is away takes no bundle, and nobody fails for it', async () => {
    await writeFile(join(dir, 'trainer.log'), 'words\n');
    class Away extends FolderStore {
      override create(): ReturnType<FolderStore['create']> {
        return Promise.reject(new StoreError('Unavailable', 'away'));
      }
    }
    expect(await bundle(new Away(store.url))).toBe(0);
  });

  test('that has the bundle of an attempt before keeps it', async () => {
    await writeFile(join(dir, 'trainer.log'), 'words\n');
    await bundle();
    await writeFile(join(dir, 'trainer.log'), 'words\nand more\n');
    expect(await bundle()).toBe(3);
    expect(await stored('trainer.log')).toBe('words\n');
  });
});

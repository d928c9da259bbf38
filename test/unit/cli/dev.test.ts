/** The parts of `anneal dev`, with real processes: keeping, ending, finding what was left, choosing ports and programs. */
import { spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { hostName } from '../../../src/cli/dev/configs.js';
import { KeptProcess, type KeptEvents } from '../../../src/cli/dev/kept-process.js';
import { devChildren, endAll, hostWork } from '../../../src/cli/dev/leftovers.js';
import { findPorts, LOOPBACK } from '../../../src/cli/dev/ports.js';
import { findTemporalCli, isNewEnough, parseTemporalVersion } from '../../../src/cli/dev/temporal-cli.js';
import { readProcess } from '../../../src/process/proc.js';
import { poll } from '../../../src/process/wait.js';

let folder: string;
let children: ChildProcess[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'anneal-dev-'));
  children = [];
});
afterEach(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

const WAIT = { timeoutMs: 10_000, pollMs: 20 };

function shell(script: string, env: Record<string, string> = {}, cwd = folder): ChildProcess {
  const child = spawn('sh', ['-c', script], { cwd, env: { PATH: '/usr/bin:/bin', ...env }, stdio: 'ignore' });
  children.push(child);
  return child;
}

function keep(script: string, events: Partial<KeptEvents> = {}): KeptProcess {
  const spec = {
    name: 'kept',
    program: 'sh',
    args: ['-c', script],
    env: { PATH: '/usr/bin:/bin' },
    cwd: folder,
    logFile: join(folder, 'kept.log'),
  };
  return new KeptProcess(spec, { say: () => undefined, changed: () => undefined, gaveUp: () => undefined, ...events });
}

/** Waits until the kept process has printed exactly this. */
async function printed(text: string): Promise<void> {
  await poll(() => (readFileSync(join(folder, 'kept.log'), 'utf8') === text ? true : undefined), WAIT);
}

describe('KeptProcess', () => {
  test('starts a killed process again, says so, and keeps what it printed', async () => {
    const said: string[] = [];
    const kept = keep('echo started; exec sleep 60', { say: (line) => said.push(line) });
    kept.start();
    await printed('started\n');
    const first = kept.identity!;
    process.kill(first.pid, 'SIGKILL');
    const second = await poll(
      () => (kept.identity && kept.identity.pid !== first.pid ? kept.identity : undefined),
      WAIT,
    );
    expect(second).toBeDefined();
    expect(said).toEqual([expect.stringContaining('kept was ended by SIGKILL; it is started again in 0.5 s')]);
    await printed('started\nstarted\n');
    await kept.stop(1_000);
    expect(readProcess(second!.pid)).toBeUndefined();
    expect(readFileSync(join(folder, 'kept.log'), 'utf8')).toBe('started\nstarted\n');
  });

  test('is not started again once it was told to stop', async () => {
    const kept = keep('exec sleep 60');
    kept.start();
    const { pid } = kept.identity!;
    await kept.stop(1_000);
    expect(readProcess(pid)).toBeUndefined();
    kept.start();
    expect(kept.identity).toBeUndefined();
  });

  test('is killed when it does not end by itself', async () => {
    const said: string[] = [];
    const kept = keep('trap "" TERM; echo ready; while :; do sleep 0.1; done', { say: (line) => said.push(line) });
    kept.start();
    const { pid } = kept.identity!;
    await printed('ready\n');
    await kept.stop(100);
    expect(readProcess(pid)).toBeUndefined();
    expect(said).toEqual([expect.stringContaining('it is killed')]);
  });

  test('a program that is not there is told, not thrown', async () => {
    const said: string[] = [];
    const kept = new KeptProcess(
      {
        name: 'ghost',
        program: join(folder, 'nothing'),
        args: [],
        env: {},
        cwd: folder,
        logFile: join(folder, 'g.log'),
      },
      { say: (line) => said.push(line), changed: () => undefined, gaveUp: () => undefined },
    );
    kept.start();
    await poll(() => (said.length > 0 ? true : undefined), WAIT);
    expect(said[0]).toMatch(/ghost could not be started .*ENOENT/);
    await kept.stop(0);
  });
});

describe('leftovers', () => {
  test('children of a dev are found by their mark and ended; those of another folder live on', async () => {
    const mine = shell('exec sleep 60', { ANNEAL_DEV: folder });
    const other = shell('exec sleep 60', { ANNEAL_DEV: `${folder}-other` });
    await poll(() => (devChildren(folder, undefined).length === 1 ? true : undefined), WAIT);
    expect(devChildren(folder, undefined).map(({ pid }) => pid)).toEqual([mine.pid]);
    expect(await endAll(() => devChildren(folder, undefined), 2_000)).toEqual([]);
    expect(readProcess(mine.pid!)).toBeUndefined();
    expect(readProcess(other.pid!)).toBeDefined();
  });

  test('a pid of the state file that another process has by now is left alone', () => {
    const stranger = shell('exec sleep 60');
    const state = { children: [{ name: 'host-a', pid: stranger.pid!, startTicks: '1' }] };
    expect(devChildren(folder, state as never)).toEqual([]);
  });

  test('trainers of this folder are found by their run id and where they work; a shell that only stands there is not', async () => {
    const host = join(folder, 'hosts', 'host-a');
    mkdirSync(host, { recursive: true });
    const trainer = shell('exec sleep 60', { ANNEAL_RUN_ID: 'r' }, host);
    shell('exec sleep 60', {}, host);
    shell('exec sleep 60', { ANNEAL_RUN_ID: 'r' }, folder);
    await poll(() => (hostWork(folder).length > 0 ? true : undefined), WAIT);
    expect(hostWork(folder).map(({ pid }) => pid)).toEqual([trainer.pid]);
  });

  test('what ignores SIGTERM is killed', async () => {
    const stubborn = shell('trap "" TERM; while :; do sleep 0.1; done', { ANNEAL_DEV: folder });
    await poll(() => (devChildren(folder, undefined).length > 0 ? true : undefined), WAIT);
    expect(await endAll(() => devChildren(folder, undefined), 300)).toEqual([]);
    expect(readProcess(stubborn.pid!)).toBeUndefined();
  });
});

describe('findPorts', () => {
  test('a busy port, or a busy one for the page, moves both to the next', async () => {
    const first = (await findPorts(21_500)).service;
    const busy = createServer();
    await new Promise<void>((resolve) => busy.listen(first + 1_000, LOOPBACK, resolve));
    try {
      const found = await findPorts(first);
      expect(found.service).toBeGreaterThan(first);
      expect(found.ui).toBe(found.service + 1_000);
    } finally {
      busy.close();
    }
  });
});

describe('findTemporalCli', () => {
  const program = (name: string, version: string): string => {
    const path = join(folder, name);
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, `#!/bin/sh\necho "temporal version ${version} (Server 1.31.2)"\n`);
    chmodSync(path, 0o755);
    return path;
  };

  test('a named program is taken, whatever PATH holds', async () => {
    const named = program('mine/temporal', '1.8.2');
    expect(await findTemporalCli({ env: { TEMPORAL_CLI_PATH: named, PATH: folder }, root: folder })).toBe(named);
  });

  test('a named program that is not there is an error, not a reason to look on', async () => {
    program('.venv/bin/temporal', '1.8.2');
    const looked = findTemporalCli({ env: { TEMPORAL_CLI_PATH: join(folder, 'gone') }, root: folder });
    await expect(looked).rejects.toThrow(/TEMPORAL_CLI_PATH.*gone/);
  });

  test('a program on PATH that is too old is passed over for the one of set-up', async () => {
    program('bin/temporal', '1.7.3');
    const installed = program('.venv/bin/temporal', '1.8.2');
    expect(await findTemporalCli({ env: { PATH: join(folder, 'bin') }, root: folder })).toBe(installed);
  });

  test('a program on PATH that is new enough is taken', async () => {
    const found = program('bin/temporal', '1.9.1');
    expect(await findTemporalCli({ env: { PATH: join(folder, 'bin') }, root: folder })).toBe(found);
  });

  test('none at all says what to do', async () => {
    await expect(findTemporalCli({ env: { PATH: '' }, root: folder })).rejects.toThrow(/npm run setup/);
  });

  test.each([
    ['temporal version 1.8.2 (Server 1.31.2, UI 2.50.1)', true],
    ['temporal version 1.7.9', false],
    ['temporal version 2.0.0', true],
    ['something else', false],
  ])('%s: new enough is %s', (text, expected) => {
    expect(isNewEnough(parseTemporalVersion(text))).toBe(expected);
  });
});

test('hosts are named by letters, then by numbers', () => {
  expect([0, 1, 25, 26].map(hostName)).toEqual(['host-a', 'host-b', 'host-z', 'host-27']);
});

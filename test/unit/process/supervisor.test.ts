/** Trainers under a supervisor, with real processes: launch once, adopt, lease, stop, and nothing left after any death. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, open, rmdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { isLockFree } from '../../../src/process/host-lock.js';
import { stopEverything } from '../../../src/process/kill.js';
import { markerEnvironment } from '../../../src/process/marker.js';
import { environmentOf } from '../../../src/process/proc.js';
import { findTrainer, launchTrainer, stopTrainer, sweep, waitForExit } from '../../../src/process/supervisor.js';
import type { ExitReport, LaunchSpec } from '../../../src/process/supervisor.js';
import { renewLease, requestStop } from '../../../src/process/trainer-files.js';
import { monotonicSeconds, pause, poll } from '../../../src/process/wait.js';
import { Sandbox, allGone, compileFolder, eventually, living, startedPids } from './support.js';

let sandbox: Sandbox;
beforeEach(async () => {
  sandbox = await Sandbox.create();
});
afterEach(async () => {
  await sandbox.dispose();
});

async function launch(spec: LaunchSpec): Promise<{ supervisorPid: number }> {
  const result = await launchTrainer(spec);
  if (result.kind !== 'started') throw new Error(result.message);
  return result;
}

async function exitOf(dir: string): Promise<ExitReport> {
  const end = await waitForExit(dir, { timeoutMs: 12_000 });
  if (end?.state !== 'exited') throw new Error(`No exit report in ${dir}, but ${JSON.stringify(end)}.`);
  return end.exit;
}

async function eventuallyFree(lockFile: string): Promise<void> {
  expect(await poll(async () => (await isLockFree(lockFile)) || undefined, { timeoutMs: 5_000 })).toBe(true);
}

async function realPython(): Promise<string> {
  const { stdout } = await promisify(execFile)('python3', ['-c', 'import sys; print(sys.executable)']);
  return stdout.trim();
}

describe('launch', () => {
  test('a launched trainer runs with its marker, its log and the host lock, and its own end is reported with what it left', async () => {
    const spec = await sandbox.spec('exit:3');
    expect(await findTrainer(spec.dir)).toEqual({ state: 'absent' });
    const { supervisorPid } = await launch(spec);
    const pids = await startedPids(spec.dir);
    const exit = await exitOf(spec.dir);
    expect(exit).toMatchObject({ reason: 'exited', rc: 3, left: [] });
    // Both workers and both loaders outlived the launcher.
    for (const pid of pids.slice(1)) expect(exit.swept).toContain(pid);
    await allGone([...pids, supervisorPid]);
    await eventuallyFree(spec.lockFile);
    expect(readFileSync(join(spec.dir, 'trainer.log'), 'utf8')).toContain(`worker 0 of run ${sandbox.runId}`);
  });

  test('the end of a trainer takes with it orphans that hide, and strangers to its tree that have its lock or its marker', async () => {
    const spec = await sandbox.spec('exit:0:hidden', { leaseTtlMs: 60_000 });
    const lock = await open(spec.lockFile, 'a');
    const outsiders = [
      spawn('sleep', ['600'], { stdio: [lock.fd, 'ignore', 'ignore'], env: {} }),
      spawn('sleep', ['600'], { stdio: 'ignore', env: { ...markerEnvironment(spec.marker) } }),
    ].map(({ pid = 0 }) => pid);
    await lock.close();
    await launch(spec);
    const pids = await startedPids(spec.dir);
    const exit = await exitOf(spec.dir);
    expect(exit).toMatchObject({ reason: 'exited', rc: 0, left: [] });
    expect(exit.swept).toEqual(expect.arrayContaining([...pids.slice(1), ...outsiders]));
    await allGone([...pids, ...outsiders]);
  });

  test('a supervisor that can write neither its report nor a word into its log lives on, and reports when it can', async () => {
    const spec = await sandbox.spec('polite');
    await symlink('/dev/full', join(spec.dir, 'supervisor.log'));
    await launch(spec);
    const [launcher = 0] = await startedPids(spec.dir);
    // Nothing can be renamed to a name that a folder has.
    const inTheWay = join(spec.dir, 'exit.json');
    await mkdir(inTheWay);
    process.kill(launcher, 'SIGKILL');
    await eventually('it has tried', () => readdirSync(spec.dir).some((name) => /^exit\.json\.\d+\.tmp$/.test(name)));
    await rmdir(inTheWay);
    expect(await exitOf(spec.dir)).toMatchObject({ reason: 'exited', rc: -9, left: [] });
  });

  test('the environment of a trainer is what the launch says and its marker, nothing of the agent', async () => {
    const spec = await sandbox.spec('', { argv: ['/usr/bin/env'], env: { PATH: '/usr/bin:/bin', ONLY: 'this' } });
    await launch({ ...spec, python: await realPython() });
    await exitOf(spec.dir);
    expect(readFileSync(join(spec.dir, 'trainer.log'), 'utf8').trim().split('\n').sort()).toEqual([
      'ANNEAL_GENERATION=1',
      'ANNEAL_NODE_RANK=0',
      `ANNEAL_RUN_ID=${sandbox.runId}`,
      `ANNEAL_WORK_ROOT=${sandbox.root}`,
      'ONLY=this',
      'PATH=/usr/bin:/bin',
    ]);
  });

  test('the same generation is never launched twice: not beside a running trainer, not after its end, not by two racers', async () => {
    const spec = await sandbox.spec('polite');
    const results = await Promise.all([launchTrainer(spec), launchTrainer(spec), launchTrainer(spec)]);
    expect(results.map(({ kind }) => kind).sort()).toEqual(['already-launched', 'already-launched', 'started']);
    await requestStop(spec.dir, { graceMs: 0 });
    await exitOf(spec.dir);
    expect((await launchTrainer(spec)).kind).toBe('already-launched');
  });

  test('a second trainer on a host is refused with the name of the first, starts nothing, and may be tried again later', async () => {
    const first = await sandbox.spec('polite');
    const { supervisorPid } = await launch(first);
    const second = await sandbox.spec('polite', { marker: sandbox.marker(2) });
    const refused = await launchTrainer(second);
    expect(refused).toMatchObject({ kind: 'host-busy', holder: { pid: supervisorPid, directory: first.dir } });
    expect(refused).toHaveProperty('message', expect.stringContaining(first.dir));
    expect(await findTrainer(second.dir)).toEqual({ state: 'absent' });
    expect(existsSync(join(second.dir, 'launcher'))).toBe(false);
    await requestStop(first.dir, { graceMs: 0 });
    await exitOf(first.dir);
    await launch(second);
    expect((await findTrainer(second.dir)).state).toBe('running');
  });

  test('a command that cannot be started is reported as such, and the host is free again', async () => {
    const missing = await sandbox.spec('', { argv: ['no-such-program-here'] });
    const result = await launchTrainer(missing);
    expect(result.kind).toBe('failed-to-start');
    expect(result).toHaveProperty('message', expect.stringContaining('no-such-program-here'));
    expect(await exitOf(missing.dir)).toMatchObject({ reason: 'failed-to-start', rc: null });
    await eventuallyFree(sandbox.lockFile);
    const noPython = await sandbox.spec('', { marker: sandbox.marker(2), python: 'no-such-python' });
    expect(await launchTrainer(noPython)).toMatchObject({ kind: 'failed-to-start' });
    expect(await findTrainer(noPython.dir)).toMatchObject({ state: 'exited', exit: { reason: 'failed-to-start' } });
  });

  test('a trainer that was stopped while its supervisor was only starting never starts', async () => {
    const slow = join(sandbox.root, 'slow-python');
    await writeFile(slow, `#!/bin/sh\nwhile [ ! -e ${sandbox.root}/go ]; do sleep 0.02; done\nexec python3 "$@"\n`, {
      mode: 0o755,
    });
    const spec = await sandbox.spec('polite', { python: slow });
    const launching = launchTrainer(spec);
    await eventually('the launch', () => existsSync(join(spec.dir, 'supervisor.log')));
    const report = await sweep(spec);
    await writeFile(join(sandbox.root, 'go'), '');
    expect(report.gone).toBe(true);
    expect((await launching).kind).toBe('failed-to-start');
    expect(existsSync(join(spec.dir, 'launcher'))).toBe(false);
    expect((await launchTrainer(spec)).kind).toBe('already-launched');
  });

  test('a supervisor that comes up after its generation was closed refuses to start', async () => {
    const spec = await sandbox.spec('polite');
    await stopTrainer({ ...spec, graceMs: 0 });
    const launchFile = { ...spec, logFile: join(spec.dir, 'trainer.log'), marker: { ANNEAL_RUN_ID: sandbox.runId } };
    await writeFile(join(spec.dir, 'launch.json'), JSON.stringify(launchFile));
    const script = new URL('../../../src/process/supervisor.py', import.meta.url).pathname;
    const late = spawn('python3', ['-I', '-S', script, spec.dir], { stdio: 'ignore' });
    expect((await once(late, 'exit'))[0]).toBe(76);
    expect(existsSync(join(spec.dir, 'launcher'))).toBe(false);
  });
});

describe('adoption', () => {
  test('a trainer goes on after SIGKILL to the agent that launched it, and another process adopts and stops it', async () => {
    const spec = await sandbox.spec('polite');
    await writeFile(join(sandbox.root, 'spec.json'), JSON.stringify(spec));
    const compiled = await compileFolder('process', sandbox.root);
    const script = `
      import { readFileSync, writeFileSync } from 'node:fs';
      import { launchTrainer } from ${JSON.stringify(join(compiled, 'supervisor.js'))};
      const result = await launchTrainer(JSON.parse(readFileSync(process.argv[1], 'utf8')));
      writeFileSync(process.argv[1] + '.result', JSON.stringify(result));
      setInterval(() => {}, 1000);`;
    const agent = spawn(process.execPath, ['--input-type=module', '-e', script, join(sandbox.root, 'spec.json')], {
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    const pids = await startedPids(spec.dir);
    await eventually('the result of the launch', () => existsSync(join(sandbox.root, 'spec.json.result')));
    agent.kill('SIGKILL');
    await once(agent, 'exit');

    const found = await findTrainer(spec.dir);
    expect(found).toMatchObject({ state: 'running', trainerPid: pids[0] });
    await eventually('a beat', () => existsSync(join(spec.dir, 'beat-0')));
    const beat = readFileSync(join(spec.dir, 'beat-0'), 'utf8');
    await eventually('a further beat', () => readFileSync(join(spec.dir, 'beat-0'), 'utf8') > beat);
    expect(living(pids)).toEqual(pids);

    await requestStop(spec.dir, { graceMs: 5_000 });
    expect(await exitOf(spec.dir)).toMatchObject({ reason: 'stopped', rc: 0, left: [] });
    await allGone(pids);
  });

  test('waiting for the end is given up with the reason of the signal, and the trainer does not notice', async () => {
    const spec = await sandbox.spec('polite');
    await launch(spec);
    const pids = await startedPids(spec.dir);
    const detach = new AbortController();
    const waiting = waitForExit(spec.dir, { signal: detach.signal });
    detach.abort(new Error('detached'));
    await expect(waiting).rejects.toThrow('detached');
    expect(living(pids)).toEqual(pids);
  });
});

describe('loss of the supervisor', () => {
  test('SIGKILL to the supervisor ends the launcher, the sweep ends the rest, and the generation is closed for ever', async () => {
    const spec = await sandbox.spec('stubborn');
    const { supervisorPid } = await launch(spec);
    const pids = await startedPids(spec.dir);
    const [launcher = 0, ...others] = pids;
    process.kill(supervisorPid, 'SIGKILL');
    await allGone([supervisorPid, launcher]);
    // torchrun's workers do not die with it, and hold the lock: no second trainer can start meanwhile.
    expect(living(others)).toEqual(others);
    expect(await findTrainer(spec.dir)).toMatchObject({ state: 'lost' });
    const next = await sandbox.spec('polite', { marker: sandbox.marker(2) });
    expect((await launchTrainer(next)).kind).toBe('host-busy');

    const report = await sweep(spec);
    expect(report).toMatchObject({ left: [], lock: 'free', gone: true });
    expect(report.killed.map(({ pid }) => pid).sort()).toEqual([...others].sort());
    expect(living(others)).toEqual([]);
    expect(await findTrainer(spec.dir)).toMatchObject({ state: 'exited', exit: { reason: 'supervisor-lost' } });
    expect((await launchTrainer(spec)).kind).toBe('already-launched');
    await launch(next);
  });

  test('survivors without environment and without parent are found by the lock that they inherited', async () => {
    const spec = await sandbox.spec('polite');
    const { supervisorPid } = await launch(spec);
    const pids = await startedPids(spec.dir);
    const loaders = pids.slice(3);
    // All but the loaders die: nothing that carries the marker is left, the loaders' parent is not ours.
    for (const pid of [supervisorPid, ...pids.slice(0, 3)]) if (living([pid]).length > 0) process.kill(pid, 'SIGKILL');
    await allGone([supervisorPid, ...pids.slice(0, 3)]);
    await eventually('loaders without environment', () =>
      loaders.every((pid) => !environmentOf(pid).join().includes('ANNEAL')),
    );
    expect(await isLockFree(spec.lockFile)).toBe(false);
    const report = await stopEverything({ marker: spec.marker, lockFile: spec.lockFile, graceMs: 0 });
    expect(report.killed.map(({ pid }) => pid).sort()).toEqual([...loaders].sort());
    expect(report).toMatchObject({ gone: true, lock: 'free' });
  });

  test('the trainer of another run that holds the host now is not touched by a late stop', async () => {
    const early = await sandbox.spec('exit:0');
    await launch(early);
    await exitOf(early.dir);
    const current = await sandbox.spec('polite', { marker: sandbox.marker(2) });
    await launch(current);
    const pids = await startedPids(current.dir);
    expect(await stopTrainer({ ...early, graceMs: 0 })).toMatchObject({ killed: [], lock: 'another', gone: true });
    expect(living(pids)).toEqual(pids);
  });

  test('two hosts of one gang on one machine are told apart by their node rank', async () => {
    const zero = await sandbox.spec('polite', { workers: 1 });
    const one = await sandbox.spec('polite', {
      workers: 1,
      marker: sandbox.marker(1, 1),
      lockFile: `${sandbox.lockFile}-1`,
    });
    await launch(zero);
    await launch(one);
    const pids = await startedPids(one.dir, 1);
    await startedPids(zero.dir, 1);
    expect(await stopTrainer({ ...zero, graceMs: 0 })).toMatchObject({ exit: { reason: 'stopped' }, gone: true });
    expect(living(pids)).toEqual(pids);
    await stopTrainer({ ...one, graceMs: 0 });
  });
});

describe('lease', () => {
  test('a lease that is renewed keeps the trainer beyond its ttl; when it runs out everything is killed', async () => {
    const spec = await sandbox.spec('stubborn', { leaseTtlMs: 1_000 });
    await launch(spec);
    const pids = await startedPids(spec.dir);
    const until = monotonicSeconds() + 2;
    while (monotonicSeconds() < until) {
      await renewLease(spec.dir, monotonicSeconds());
      await pause(100);
    }
    expect(living(pids)).toEqual(pids);
    const renewedAt = monotonicSeconds();
    const exit = await exitOf(spec.dir);
    expect(exit).toMatchObject({ reason: 'lease', rc: -9, left: [] });
    expect(monotonicSeconds() - renewedAt).toBeGreaterThan(0.8);
    expect(living(pids)).toEqual([]);
  });

  test('a stamp from the future renews nothing', async () => {
    const spec = await sandbox.spec('polite', { leaseTtlMs: 1_500, workers: 1 });
    await launch(spec);
    await renewLease(spec.dir, monotonicSeconds() + 3_600);
    expect(await exitOf(spec.dir)).toMatchObject({ reason: 'lease' });
  });

  test('a stamp from the past, or a damaged one, takes nothing away', async () => {
    const spec = await sandbox.spec('polite', { workers: 1 });
    await launch(spec);
    const pids = await startedPids(spec.dir, 1);
    for (const write of [() => renewLease(spec.dir, 1), () => writeFile(join(spec.dir, 'lease'), 'x')]) {
      await write();
      const from = monotonicSeconds();
      await eventually('five rounds of the supervisor', () => monotonicSeconds() > from + 0.5);
    }
    expect(living(pids)).toEqual(pids);
  });

  test('a supervisor that was frozen beyond the lease kills its trainer as soon as it wakes', async () => {
    const spec = await sandbox.spec('polite', { leaseTtlMs: 1_000 });
    const { supervisorPid } = await launch(spec);
    const pids = await startedPids(spec.dir);
    process.kill(supervisorPid, 'SIGSTOP');
    const frozenAt = monotonicSeconds();
    await eventually('the end of the lease', () => monotonicSeconds() > frozenAt + 1.2);
    expect(living(pids)).toEqual(pids);
    // A stop that came meanwhile does not give it a grace.
    await requestStop(spec.dir, { graceMs: 60_000 });
    process.kill(supervisorPid, 'SIGCONT');
    expect(await exitOf(spec.dir)).toMatchObject({ reason: 'lease' });
    expect(living(pids)).toEqual([]);
  });
});

describe('stop', () => {
  test('a stop asks the workers and not the launcher, which would kill them', async () => {
    const spec = await sandbox.spec('polite');
    await launch(spec);
    const pids = await startedPids(spec.dir);
    const report = await stopTrainer({ ...spec, graceMs: 8_000 });
    expect(report).toMatchObject({ exit: { reason: 'stopped', rc: 0 }, left: [], lock: 'free', gone: true });
    expect(existsSync(join(spec.dir, 'saved-0')) && existsSync(join(spec.dir, 'saved-1'))).toBe(true);
    expect(existsSync(join(spec.dir, 'launcher-got-sigterm'))).toBe(false);
    expect(living(pids)).toEqual([]);
    // Again, and nothing happens.
    expect(await stopTrainer({ ...spec, graceMs: 8_000 })).toMatchObject({
      exit: { reason: 'stopped' },
      killed: [],
      gone: true,
    });
  });

  test('workers that ignore SIGTERM are killed after the grace', async () => {
    const spec = await sandbox.spec('stubborn');
    await launch(spec);
    const pids = await startedPids(spec.dir);
    const askedAt = monotonicSeconds();
    await requestStop(spec.dir, { graceMs: 700 });
    const exit = await exitOf(spec.dir);
    expect(monotonicSeconds() - askedAt).toBeGreaterThan(0.6);
    expect(exit).toMatchObject({ reason: 'stopped', rc: -9, left: [] });
    expect([...exit.swept].sort()).toEqual([...pids].sort());
    expect(existsSync(join(spec.dir, 'saved-0'))).toBe(true);
    expect(living(pids)).toEqual([]);
  });

  test('a stop without grace ends the grace of an earlier one', async () => {
    const spec = await sandbox.spec('stubborn', { workers: 1 });
    await launch(spec);
    await startedPids(spec.dir, 1);
    await requestStop(spec.dir, { graceMs: 600_000 });
    await eventually('the first stop', () => existsSync(join(spec.dir, 'saved-0')));
    await requestStop(spec.dir, { graceMs: 0 });
    expect(await exitOf(spec.dir)).toMatchObject({ reason: 'stopped' });
  });

  test('SIGTERM to the supervisor is a stop', async () => {
    const spec = await sandbox.spec('polite', { workers: 1 });
    const { supervisorPid } = await launch(spec);
    await startedPids(spec.dir, 1);
    process.kill(supervisorPid, 'SIGTERM');
    expect(await exitOf(spec.dir)).toMatchObject({ reason: 'stopped', rc: 0 });
  });

  test('a trainer that was stopped before its launch is never launched', async () => {
    const spec = await sandbox.spec('polite');
    expect(await stopTrainer({ ...spec, graceMs: 1_000 })).toMatchObject({ exit: { reason: 'stopped' }, gone: true });
    expect((await launchTrainer(spec)).kind).toBe('already-launched');
    expect(await findTrainer(spec.dir)).toMatchObject({ state: 'exited', exit: { reason: 'stopped' } });
  });
});

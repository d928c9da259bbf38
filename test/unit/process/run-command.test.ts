/** Short commands: their output, their failures, and that nothing of them outlives an abort. */
import { spawn } from 'node:child_process';
import { randomInt, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { killLeftovers, markedProcesses } from '../../../src/process/kill.js';
import { commandOf, processTable } from '../../../src/process/proc.js';
import { CommandFailed, runCommand } from '../../../src/process/run-command.js';
import type { CommandSpec } from '../../../src/process/run-command.js';
import { monotonicSeconds } from '../../../src/process/wait.js';
import { compileFolder, environment, eventually, living } from './support.js';

let root: string;
const marker = { workRoot: '/h0', runId: `test-${randomUUID()}`, stage: 'convert' };

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'anneal-command-'));
});
afterEach(async () => {
  await killLeftovers(marker);
  await rm(root, { recursive: true, force: true });
});

function bash(script: string, extra: Partial<CommandSpec> = {}): CommandSpec {
  return {
    argv: ['bash', '-c', script],
    env: environment,
    cwd: root,
    logFile: join(root, 'logs/out.log'),
    marker,
    ...extra,
  };
}

function pidOf(command: string): number | undefined {
  return [...processTable().keys()].find((pid) => commandOf(pid) === command);
}

async function failureOf(promise: Promise<unknown>): Promise<CommandFailed> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof CommandFailed)) throw new Error(`It did not fail as a command, but with ${String(error)}.`);
  return error;
}

test('output of both streams goes to the log and to the listener, in the order in which it was written', async () => {
  const lines: string[] = [];
  const spec = bash('echo one; echo two >&2; cat; printf "%s" "$ANNEAL_STAGE"', { stdin: 'three\n' });
  const result = await runCommand(spec, { onLine: (line) => lines.push(line) });
  expect(lines).toEqual(['one', 'two', 'three', 'convert']);
  expect(result.tail).toEqual(lines);
  expect(readFileSync(spec.logFile, 'utf8')).toBe('one\ntwo\nthree\nconvert');
  // A second command appends, and its listener hears only its own lines.
  const again = await runCommand(bash('echo four'));
  expect(again.tail).toEqual(['four']);
});

test('the environment is the one that is given and the marker', async () => {
  const result = await runCommand({ ...bash(''), argv: ['/usr/bin/env'], env: { ONLY: 'this' } });
  const names = result.tail.map((line) => line.split('=')[0]).sort();
  expect(names).toEqual(['ANNEAL_COMMAND_ID', 'ANNEAL_RUN_ID', 'ANNEAL_STAGE', 'ANNEAL_WORK_ROOT', 'ONLY']);
});

test('a failure says how it ended and keeps the last 50 lines', async () => {
  const failed = await failureOf(runCommand(bash('seq 1 200; echo "the shape is wrong" >&2; exit 3')));
  expect(failed).toMatchObject({ kind: 'exit-code', rc: 3, argv0: 'bash', signal: undefined });
  expect(failed.tail).toHaveLength(50);
  expect(failed.tail.at(-1)).toBe('the shape is wrong');
  expect(failed.message).toMatch(/bash ended with exit code 3 after .* the shape is wrong\n.*out\.log/s);
  expect(await failureOf(runCommand(bash('kill -SEGV $$')))).toMatchObject({ kind: 'signal', signal: 'SIGSEGV' });
});

test('a program that is missing, and a folder that is missing, are failures with their names', async () => {
  const program = await failureOf(runCommand({ ...bash(''), argv: ['no-such-program'] }));
  expect(program).toMatchObject({ kind: 'not-started', rc: undefined });
  expect(program.message).toContain('no-such-program');
  const folder = await failureOf(runCommand(bash('true', { cwd: join(root, 'missing') })));
  expect(folder.kind).toBe('not-started');
  expect(folder.message).toContain(join(root, 'missing'));
});

test('an abort ends children and grandchildren in other sessions, deaf ones too, and rejects with the reason', async () => {
  const controller = new AbortController();
  const sleep = `sleep 612.${randomInt(1_000_000)}`;
  const script = `trap '' TERM; setsid bash -c 'trap "" TERM; echo $$ > a; while :; do sleep 0.05; done' &
    (setsid env -i ${sleep} &); echo $$ > b; while :; do sleep 0.05; done`;
  const running = runCommand(bash(script), { signal: controller.signal, graceMs: 300 });
  const pids = await eventually('all of them', () => {
    const orphan = pidOf(sleep);
    if (orphan === undefined || !existsSync(join(root, 'a')) || !existsSync(join(root, 'b'))) return undefined;
    return [orphan, Number(readFileSync(join(root, 'a'), 'utf8')), Number(readFileSync(join(root, 'b'), 'utf8'))];
  });
  const [orphan = 0, ...own] = pids;
  const reason = new Error('the run was cancelled');
  controller.abort(reason);
  await expect(running).rejects.toBe(reason);
  expect(living(own)).toEqual([]);
  expect(markedProcesses(marker)).toEqual([]);
  // Without environment, parent and session nothing can tell whose it is; trainers have the lock for that.
  if (living([orphan]).length > 0) process.kill(orphan, 'SIGKILL');
});

test('an abort before the start starts nothing', async () => {
  const signal = AbortSignal.abort(new Error('too late'));
  await expect(runCommand(bash('touch started'), { signal })).rejects.toThrow('too late');
  expect(existsSync(join(root, 'started'))).toBe(false);
});

test('a command that takes longer than it may is ended and says so', async () => {
  const startedAt = monotonicSeconds();
  const failed = await failureOf(runCommand(bash('echo begun; sleep 613; true'), { timeoutMs: 2_000, graceMs: 2_000 }));
  expect(failed.kind).toBe('timeout');
  expect(failed.tail).toEqual(['begun']);
  expect(monotonicSeconds() - startedAt).toBeLessThan(8);
  expect(markedProcesses(marker)).toEqual([]);
});

test('what a command leaves in the background is ended with it, and does not delay its end', async () => {
  const sleep = `sleep 618.${randomInt(1_000_000)}`;
  const orphan = `(env -i bash -c 'echo > began; exec ${sleep}' &)`;
  await runCommand(bash(`sleep 614 & setsid sleep 615 & ${orphan}; while [ ! -e began ]; do :; done`));
  expect(markedProcesses(marker)).toEqual([]);
  expect(pidOf(sleep)).toBeUndefined();
});

test('two commands of one stage run beside each other, and the end of one leaves the other alone', async () => {
  const long = runCommand(
    bash('while [ ! -e go ]; do sleep 0.02; done; echo done', { logFile: join(root, 'long.log') }),
  );
  await eventually('the long one', () => markedProcesses(marker).length > 0);
  await runCommand(bash('true'));
  await writeFile(join(root, 'go'), '');
  expect((await long).tail).toEqual(['done']);
});

test('an error in the listener ends the command and comes out', async () => {
  const onLine = (line: string): void => {
    throw new Error(`cannot read ${line}`);
  };
  await expect(runCommand(bash('echo this; sleep 616; true'), { onLine })).rejects.toThrow('cannot read this');
  expect(markedProcesses(marker)).toEqual([]);
});

test('a command whose agent was killed goes on, and the next attempt ends it by its marker', async () => {
  const compiled = await compileFolder('process', root);
  const script = `
    import { runCommand } from ${JSON.stringify(join(compiled, 'run-command.js'))};
    await runCommand(JSON.parse(process.argv[1]));`;
  const spec = bash('echo running; sleep 617; true');
  const agent = spawn(process.execPath, ['--input-type=module', '-e', script, JSON.stringify(spec)]);
  await eventually('the command', () => existsSync(spec.logFile) && readFileSync(spec.logFile, 'utf8') === 'running\n');
  agent.kill('SIGKILL');
  await once(agent, 'exit');
  expect(markedProcesses(marker).map(({ command }) => command)).toContain('sleep 617');
  expect((await killLeftovers(marker)).gone).toBe(true);
  expect(markedProcesses(marker)).toEqual([]);
});

/** Starts a supervisor with its trainer, at most once for each folder, and says what came of it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, open, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { readLockHolder } from './host-lock.js';
import type { LockHolder } from './host-lock.js';
import { describeMarker, inheritedEnvironment, markerEnvironment } from './marker.js';
import type { TrainerMarker } from './marker.js';
import { countOomKills } from './oom-kills.js';
import { ownIdentity } from './proc.js';
import { createFile, isCode, readExit, readJson, readState, replaceFile } from './trainer-files.js';
import { poll } from './wait.js';

/** Beside this file in `src` and in `dist`. */
const supervisorScript = fileURLToPath(new URL('./supervisor.py', import.meta.url));
const startLimitMs = 20_000;

export interface LaunchSpec {
  /** The folder of this run, generation and node rank (`trainerDir`), on a local disk. */
  readonly dir: string;
  /** The host lock: one file per host, the same for all runs. */
  readonly lockFile: string;
  readonly marker: TrainerMarker;
  /** The launcher, `torchrun` say; it must not be a shell that stays: `exec` it. */
  readonly argv: readonly [string, ...string[]];
  /** The whole environment of the trainer; nothing is inherited. The marker is added. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** Where standard output and error are appended; default: `trainer.log` in `dir`. */
  readonly logFile?: string;
  readonly leaseTtlMs: number;
  /** Grace after a stop request that names none. */
  readonly graceMs: number;
  /** A Python >= 3.8 for the supervisor; default: `python3` on the trainer's PATH. */
  readonly python?: string;
}

export type LaunchResult =
  | {
      readonly kind: 'started';
      readonly supervisorPid: number;
      readonly trainerPid: number | undefined;
      readonly logFile: string;
    }
  /** Another trainer holds the host. Nothing was started; the same launch may be tried again. */
  | { readonly kind: 'host-busy'; readonly holder: LockHolder | undefined; readonly message: string }
  /** It was launched before: adopt it (`findTrainer`), never launch again. */
  | { readonly kind: 'already-launched'; readonly message: string }
  /** It never ran and never will: `exit.json` says so. */
  | { readonly kind: 'failed-to-start'; readonly message: string };

/** Resolves when the trainer's launcher runs or will not; within 20 s. Rejects only when the disk fails. */
export async function launchTrainer(spec: LaunchSpec): Promise<LaunchResult> {
  const { dir, marker } = spec;
  const logFile = spec.logFile ?? join(dir, 'trainer.log');
  await mkdir(dir, { recursive: true });
  await forgetRefusal(dir);
  const oomKills = await countOomKills(process.pid);
  const record = { marker, argv: spec.argv, launcher: ownIdentity(), at: new Date().toISOString(), oomKills };
  if (!(await createFile(join(dir, 'record.json'), JSON.stringify(record)))) {
    const message = `The trainer of ${describeMarker(marker)} was launched before, see ${dir}: adopt it, or open a new generation.`;
    return { kind: 'already-launched', message };
  }
  const { argv, env, cwd, lockFile, leaseTtlMs, graceMs } = spec;
  const launch = { argv, env, cwd, logFile, lockFile, leaseTtlMs, graceMs, marker: markerEnvironment(marker) };
  // For us alone: an environment may hold secrets.
  await replaceFile(join(dir, 'launch.json'), JSON.stringify(launch), { mode: 0o600, durable: true });
  const whyEnded = await startSupervisor(spec);
  const result = await poll(() => outcome(spec, logFile, whyEnded()), { timeoutMs: startLimitMs, pollMs: 20 });
  return result ?? (await giveUp(spec, logFile, 'it showed no sign of life within 20 s'));
}

/** A refused launch started nothing, so its record may go. Only who renames the refusal may remove it: there can be two. */
async function forgetRefusal(dir: string): Promise<void> {
  try {
    await rename(join(dir, 'refused.json'), join(dir, 'refused-before.json'));
    await unlink(join(dir, 'record.json'));
  } catch (error) {
    if (!isCode(error, 'ENOENT')) throw error;
  }
}

/** Returns a question: why the supervisor is not there any more; undefined while it runs. */
async function startSupervisor({
  dir,
  env,
  marker,
  python = 'python3',
}: LaunchSpec): Promise<() => string | undefined> {
  // Files and no pipes, a session of its own: it must not notice our death. Its marker lets a sweep find it before it starts.
  const log = await open(join(dir, 'supervisor.log'), 'a');
  const child = spawn(python, ['-I', '-S', supervisorScript, dir], {
    detached: true,
    stdio: ['ignore', log.fd, log.fd],
    cwd: dir,
    env: { ...inheritedEnvironment(env), ...markerEnvironment(marker) },
  });
  let end: string | undefined;
  once(child, 'exit').then(
    ([code, signal]: unknown[]) =>
      (end = `it ended with ${String(code ?? signal)}, see ${join(dir, 'supervisor.log')}`),
    (error: unknown) => (end = `${python} could not be run (${String(error)})`),
  );
  child.unref();
  await log.close();
  return () => end;
}

const refusal = z.object({ holder: z.unknown() });

/** Undefined while nothing is decided. `end` is asked for before the files are read: they are complete if it is there. */
async function outcome(spec: LaunchSpec, logFile: string, end: string | undefined): Promise<LaunchResult | undefined> {
  const { dir, lockFile, marker } = spec;
  const state = await readState(dir);
  const exit = await readExit(dir);
  if (exit?.reason === 'failed-to-start') return { kind: 'failed-to-start', message: exit.detail };
  if (state !== undefined && 'pid' in state && (state.trainer !== null || exit !== undefined)) {
    return { kind: 'started', supervisorPid: state.pid, trainerPid: state.trainer ?? undefined, logFile };
  }
  if (end === undefined) return undefined;
  if ((await readJson(join(dir, 'refused.json'), refusal)) !== undefined) {
    const holder = await readLockHolder(lockFile);
    const who =
      holder === undefined ? 'another trainer' : `the trainer in ${holder.directory} (supervisor ${holder.pid})`;
    const message = `The trainer of ${describeMarker(marker)} was not started: ${who} holds ${lockFile}. Wait for its end, or stop it.`;
    return { kind: 'host-busy', holder, message };
  }
  return giveUp(spec, logFile, end);
}

/** Takes the supervisor's place in `state.json`, so that it cannot start any more; if it was faster, it has started. */
async function giveUp(spec: LaunchSpec, logFile: string, why: string): Promise<LaunchResult> {
  const { dir, marker } = spec;
  const detail = `The supervisor of ${describeMarker(marker)} did not start its trainer: ${why}.`;
  if (await createFile(join(dir, 'state.json'), JSON.stringify({ revoked: true }))) {
    const exit = { reason: 'failed-to-start', rc: null, swept: [], left: [], at: new Date().toISOString(), detail };
    await createFile(join(dir, 'exit.json'), JSON.stringify(exit));
    return { kind: 'failed-to-start', message: detail };
  }
  const state = await readState(dir);
  if (state !== undefined && 'pid' in state) {
    return { kind: 'started', supervisorPid: state.pid, trainerPid: state.trainer ?? undefined, logFile };
  }
  const message = `The launch of ${describeMarker(marker)} was revoked: the trainer was stopped while it started.`;
  return { kind: 'failed-to-start', message };
}

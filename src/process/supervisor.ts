/**
 * Trainers as the agent sees them: launch at most once for each (run, generation, node rank), ever; find again after any death;
 * wait; stop; sweep. The agent observes, `supervisor.py` owns the trainer: nothing here ends a trainer unless asked to.
 */
import { unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { stopEverything } from './kill.js';
import type { StopReport } from './kill.js';
import type { TrainerMarker } from './marker.js';
import { isAlive } from './proc.js';
import type { ProcessIdentity } from './proc.js';
import { createFile, exists, isCode, readExit, readState, requestStop } from './trainer-files.js';
import type { ExitReport } from './trainer-files.js';
import { monotonicSeconds, poll } from './wait.js';

export { launchTrainer } from './launch.js';
export type { LaunchSpec } from './launch.js';
export type { ExitReport } from './trainer-files.js';

export type TrainerStatus =
  | { readonly state: 'absent' }
  | { readonly state: 'running'; readonly supervisor: ProcessIdentity; readonly trainerPid: number | undefined }
  | { readonly state: 'exited'; readonly exit: ExitReport }
  /** Launched once, and no supervisor now: never launch it again; `sweep`, then the generation is over. */
  | { readonly state: 'lost'; readonly message: string };

/** A launch that shows nothing for this long after its record will not start any more. */
const settleMs = 10_000;
/** What a supervisor may need beyond the grace: its sweep (10 s), and a disk that is slow to take the report. */
const sweepMs = 15_000;
/** Whether a report is there costs next to nothing to ask, and a gang's recovery begins with the answer. */
const REPORT_LOOK_MS = 50;
/** A supervisor that died without one is found by reading several files. */
const LIFE_LOOK_MS = 500;

/**
 * What has become of the trainer of a folder. While a launch is just starting (by an agent that died, or by another attempt) it
 * waits until that is decided, 10 s at most.
 */
export async function findTrainer(dir: string, signal?: AbortSignal): Promise<TrainerStatus> {
  const undecided = { state: 'lost', message: `The launch recorded in ${dir} started no supervisor.` } as const;
  return (await poll(() => look(dir), { timeoutMs: settleMs, pollMs: 50, signal })) ?? undecided;
}

/** As `findTrainer`, at once: `starting` while a launch is undecided. */
export async function trainerNow(dir: string): Promise<TrainerStatus['state'] | 'starting'> {
  return (await look(dir))?.state ?? 'starting';
}

async function look(dir: string): Promise<TrainerStatus | undefined> {
  const state = await readState(dir);
  if (state !== undefined && 'pid' in state && isAlive(state)) {
    const { pid, start, boot } = state;
    return { state: 'running', supervisor: { pid, start, boot }, trainerPid: state.trainer ?? undefined };
  }
  // Read after the look at the process: the report is the last thing that a supervisor writes before it ends.
  const exit = await readExit(dir);
  if (exit !== undefined) return { state: 'exited', exit };
  if (state !== undefined) {
    const who =
      'pid' in state ? `its supervisor ${state.pid} is dead and left no report` : 'it was revoked while it started';
    return { state: 'lost', message: `The trainer of ${dir} is lost: ${who}.` };
  }
  if (await exists(join(dir, 'refused.json'))) return { state: 'absent' };
  return (await exists(join(dir, 'record.json'))) ? undefined : { state: 'absent' };
}

export type TrainerEnd = Extract<TrainerStatus, { state: 'exited' | 'lost' }>;

/** Waits for the end of a launched trainer. Rejects with `signal.reason`; the trainer does not notice. */
export async function waitForExit(
  dir: string,
  { signal, timeoutMs }: { signal?: AbortSignal; timeoutMs?: number } = {},
): Promise<TrainerEnd | undefined> {
  const ended = async (): Promise<TrainerEnd | undefined> => {
    const status = await findTrainer(dir, signal);
    if (status.state === 'absent') return { state: 'lost', message: `No trainer was ever launched in ${dir}.` };
    return status.state === 'running' ? undefined : status;
  };
  let lookedAt = Number.NEGATIVE_INFINITY;
  const reported = async (): Promise<TrainerEnd | undefined> => {
    const now = monotonicSeconds();
    if (now - lookedAt < LIFE_LOOK_MS / 1000 && !(await exists(join(dir, 'exit.json')))) return undefined;
    lookedAt = now;
    return ended();
  };
  return poll(reported, { signal, pollMs: REPORT_LOOK_MS, timeoutMs });
}

export interface TrainerPlace {
  readonly dir: string;
  readonly marker: TrainerMarker;
  readonly lockFile: string;
}

/**
 * Ends what a lost supervisor left, and closes the generation on this host: a launch that is still under way gives up, a later one
 * is refused. The proof is written as `exit.json`, so that every later look finds the end.
 */
export async function sweep(place: TrainerPlace): Promise<StopReport> {
  return close(place, 'supervisor-lost', 'The supervisor was lost; the agent ended what it had left.');
}

async function close(
  { dir, marker, lockFile }: TrainerPlace,
  reason: ExitReport['reason'],
  detail: string,
): Promise<StopReport> {
  const at = new Date().toISOString();
  await createFile(join(dir, 'record.json'), JSON.stringify({ closed: true, at }));
  await createFile(join(dir, 'state.json'), JSON.stringify({ revoked: true }));
  await unlink(join(dir, 'refused.json')).catch((error: unknown) => {
    if (!isCode(error, 'ENOENT')) throw error;
  });
  const report = await stopEverything({ marker, lockFile, graceMs: 0 });
  const exit: ExitReport = { reason, rc: null, swept: report.killed.map(({ pid }) => pid), left: [], at, detail };
  if (report.gone) await createFile(join(dir, 'exit.json'), JSON.stringify(exit));
  return report;
}

export interface StopTrainer extends TrainerPlace {
  /** Between SIGTERM to the workers and SIGKILL; 0 for a trainer that cannot save any more. */
  readonly graceMs: number;
}

/**
 * Ends a trainer in whatever state it is and proves that nothing of it is left; a trainer that was never launched never will be.
 * Idempotent. `exit` is missing only when something is left.
 */
export async function stopTrainer(
  place: StopTrainer,
  signal?: AbortSignal,
): Promise<StopReport & { readonly exit: ExitReport | undefined }> {
  const status = await findTrainer(place.dir, signal);
  if (status.state === 'running') {
    await requestStop(place.dir, { graceMs: place.graceMs });
    await waitForExit(place.dir, { timeoutMs: place.graceMs + sweepMs, ...(signal === undefined ? {} : { signal }) });
  }
  const [reason, detail] =
    status.state === 'absent'
      ? (['stopped', 'It was stopped before it was launched.'] as const)
      : (['supervisor-lost', 'The supervisor was lost; the agent ended what it had left.'] as const);
  const report = await close(place, reason, detail);
  return { ...report, exit: await readExit(place.dir) };
}

/**
 * The files by which agent and supervisor know of each other: one folder for each generation and node rank, on a local disk.
 * `supervisor.py` lists them. Whoever creates `state.json` first decides whether the trainer ever starts.
 */
import { randomUUID } from 'node:crypto';
import { link, mkdir, open, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import type { TrainerId } from './marker.js';
import { processIdentity } from './proc.js';

const supervisorState = z.union([
  processIdentity.extend({ trainer: z.number().int().nullable() }),
  z.object({ revoked: z.literal(true) }),
]);

const exitReport = z.object({
  /**
   * `exited` by itself · `stopped` on request · `lease` ran out · `failed-to-start` (there was no trainer) ·
   * `supervisor-error` · `supervisor-lost`: it was killed, and what it left was swept by the agent.
   */
  reason: z.enum(['exited', 'stopped', 'lease', 'failed-to-start', 'supervisor-error', 'supervisor-lost']),
  /** The launcher's exit code, negative = the signal that ended it, null = unknown. torchrun's is not the truth. */
  rc: z.number().int().nullable(),
  /** Pids that had to be killed after the launcher's end. */
  swept: z.array(z.number().int()),
  /** Pids that survived SIGKILL for 10 s: while there are any, the host must not be used. */
  left: z.array(z.number().int()),
  at: z.string(),
  detail: z.string(),
});

/** The end of the name of a file that is not whole yet; one that was killed over it stays. */
export const TEMPORARY = '.tmp';

export type SupervisorState = Readonly<z.infer<typeof supervisorState>>;
export type ExitReport = Readonly<z.infer<typeof exitReport>>;

export interface StopRequest {
  /** 0 = SIGKILL at once. A later request with 0 ends an earlier one's grace. */
  readonly graceMs: number;
  /** Who gets the SIGTERM. `workers` (default) spares torchrun, which would kill them after 30 s. */
  readonly to?: 'workers' | 'launcher';
}

/** `<trainers>/<run>/<generation>/<node rank>`. Throws for a run id that could leave the folder. */
export function trainerDir(trainers: string, { runId, generation, nodeRank }: TrainerId): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(runId)) {
    throw new Error(
      `The run id ${JSON.stringify(runId)} cannot name a folder: use letters, digits, dot, dash and underscore.`,
    );
  }
  return join(trainers, runId, String(generation), String(nodeRank));
}

/** Whose launches were ever recorded in the folder: what a host that is taken back may still have. */
export async function listTrainers(trainers: string): Promise<readonly TrainerId[]> {
  const found: TrainerId[] = [];
  for (const runId of await readdir(trainers).catch(() => []))
    for (const generation of await readdir(join(trainers, runId)).catch(() => []))
      for (const nodeRank of await readdir(join(trainers, runId, generation)).catch(() => [])) {
        const trainer = { runId, generation: Number(generation), nodeRank: Number(nodeRank) };
        if (await exists(join(trainerDir(trainers, trainer), 'record.json'))) found.push(trainer);
      }
  return found;
}

/** Renews the lease: `seconds` of the monotonic clock at which the heartbeat that was acknowledged had been *sent*. */
export async function renewLease(dir: string, seconds: number): Promise<void> {
  await replaceFile(join(dir, 'lease'), seconds.toFixed(6));
}

/** Asks the supervisor to end its trainer. Idempotent. */
export async function requestStop(dir: string, request: StopRequest): Promise<void> {
  await replaceFile(join(dir, 'stop'), JSON.stringify({ to: 'workers', ...request }));
}

export async function readState(dir: string): Promise<SupervisorState | undefined> {
  return readJson(join(dir, 'state.json'), supervisorState);
}

export async function readExit(dir: string): Promise<ExitReport | undefined> {
  return readJson(join(dir, 'exit.json'), exitReport);
}

export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** Replaces a file whole. `durable`: it survives a power cut. */
export async function replaceFile(path: string, text: string, { durable = false, mode = 0o644 } = {}): Promise<void> {
  const temporary = `${path}.${randomUUID()}${TEMPORARY}`;
  try {
    await writeFile(temporary, text, { mode, flush: durable });
    await rename(temporary, path);
  } catch (error) {
    // A full disk leaves it empty, and where this is done every two seconds, thousands of them.
    await rm(temporary, { force: true });
    throw error;
  }
  if (durable) await syncFolder(dirname(path));
}

/** Creates a file with all its content, durably, or gives false when it is there already. */
export async function createFile(path: string, text: string): Promise<boolean> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${randomUUID()}${TEMPORARY}`;
  try {
    await writeFile(temporary, text, { flush: true });
    await link(temporary, path);
    await syncFolder(dirname(path));
    return true;
  } catch (error) {
    if (isCode(error, 'EEXIST')) return false;
    throw error;
  } finally {
    await rm(temporary, { force: true });
  }
}

/** Reads a JSON file of known shape; `undefined` when it is not there. Throws for any other content. */
export async function readJson<T>(path: string, schema: z.ZodType<T>): Promise<T | undefined> {
  const text = await readText(path);
  if (text === undefined) return undefined;
  try {
    return schema.parse(JSON.parse(text));
  } catch (error) {
    throw new Error(
      `The file ${path} is damaged: it must hold what the supervisor writes. Remove its generation's folder.`,
      {
        cause: error,
      },
    );
  }
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  await folder.sync().finally(() => folder.close());
}

export function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

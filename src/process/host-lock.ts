/**
 * The two locks of a host, both `flock`, so that the kernel frees them at any death. The *agent lock* makes an agent the only
 * one of its name; a `flock(1)` child holds it on a pipe, because Node has no flock. The *host lock* is taken by a supervisor and
 * inherited by its trainer (see `supervisor.py`); here it is only asked about. Neither works on NFS.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { ownIdentity, processIdentity } from './proc.js';
import { poll } from './wait.js';

const busyCode = 75;

const agentHolder = processIdentity.extend({ name: z.string(), at: z.string() });
const lockHolder = processIdentity.extend({
  marker: z.record(z.string(), z.string()),
  directory: z.string(),
  at: z.string(),
});

/** Who holds, or was the last to hold, the host lock: a supervisor. */
export type LockHolder = Readonly<z.infer<typeof lockHolder>>;
type AgentHolder = Readonly<z.infer<typeof agentHolder>>;

export interface AgentLock {
  /** Aborted, with the reason, when the lock is lost without `release`: the agent must end then. */
  readonly lost: AbortSignal;
  release(): Promise<void>;
}

export type AgentLockResult =
  | { readonly kind: 'taken'; readonly lock: AgentLock }
  | { readonly kind: 'busy'; readonly holder: AgentHolder | undefined; readonly message: string };

/** Takes the lock of the agent called `name`, for life. Rejects when `flock(1)` cannot be run or the file not be written. */
export async function takeAgentLock(lockFile: string, name: string): Promise<AgentLockResult> {
  await mkdir(dirname(lockFile), { recursive: true });
  // Detached: a Ctrl-C in the terminal must reach the agent alone, which needs its lock until its end.
  const child = spawn('flock', ['-n', '-E', String(busyCode), lockFile, 'sh', '-c', 'echo ok; exec cat >/dev/null'], {
    stdio: ['pipe', 'pipe', 'ignore'],
    detached: true,
  });
  const answer = await Promise.race([
    once(child.stdout, 'data').then(() => 'taken' as const),
    once(child, 'exit').then(([code]: unknown[]) => code),
  ]).catch((error: unknown) => {
    throw new Error('The program flock could not be started: install util-linux, the agent needs it.', {
      cause: error,
    });
  });
  if (answer === 'taken') {
    await writeFile(lockFile, JSON.stringify({ ...ownIdentity(), name, at: new Date().toISOString() }));
    child.unref();
    child.stdout.destroy();
    return { kind: 'taken', lock: holdLock(child, lockFile) };
  }
  if (answer !== busyCode) {
    throw new Error(`flock ended with ${String(answer)} on ${lockFile}: check that the folder is local and writable.`);
  }
  const holder = await readAgentHolder(lockFile);
  const who =
    holder === undefined ? 'another process' : `process ${holder.pid} (agent ${holder.name}, since ${holder.at})`;
  return {
    kind: 'busy',
    holder,
    message: `The agent ${name} cannot start: ${who} holds ${lockFile}. Stop it, or give this agent another name.`,
  };
}

function holdLock(child: ChildProcess, lockFile: string): AgentLock {
  const lost = new AbortController();
  let released = false;
  const gone = once(child, 'exit').then(() => {
    if (!released) {
      lost.abort(
        new Error(`The lock ${lockFile} is lost: its flock process ended. End this agent and start it again.`),
      );
    }
  });
  return {
    lost: lost.signal,
    async release() {
      released = true;
      child.ref();
      child.stdin?.end();
      await gone;
    },
  };
}

async function readAgentHolder(lockFile: string): Promise<AgentHolder | undefined> {
  return agentHolder.safeParse(await readJson(lockFile)).data;
}

export async function readLockHolder(lockFile: string): Promise<LockHolder | undefined> {
  return lockHolder.safeParse(await readJson(lockFile)).data;
}

/**
 * Whether nobody holds a lock. To ask, it is taken for some milliseconds; who takes it in earnest must try for longer than
 * that. (`/proc/locks` would not disturb, but in a container it hides a lock whose taker is dead.)
 */
export async function isLockFree(lockFile: string): Promise<boolean> {
  const child = spawn('flock', ['-n', '-E', String(busyCode), lockFile, 'true'], { stdio: 'ignore' });
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code === 0 || code === busyCode) return code === 0;
  throw new Error(`flock ended with ${String(code)} on ${lockFile}: check that the folder exists and is local.`);
}

/** A lock file is rewritten in place, so a reader may meet half of it: then it looks again for a moment. */
async function readJson(path: string): Promise<unknown> {
  return poll(async () => parse(await readFile(path, 'utf8').catch(() => 'null')), { timeoutMs: 100, pollMs: 20 });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

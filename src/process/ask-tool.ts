/**
 * Asks a vendor's tool, which may hang with its driver: in a child with a hard time limit, and never two at once on a host, since that makes some
 * of them hang. The lock is held by the tool itself: one that does not even die of SIGKILL still keeps others away.
 */
import { spawn } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { pause, monotonicSeconds } from './wait.js';

export interface ToolCall {
  /** The program as an absolute path, then its arguments. */
  readonly argv: readonly [string, ...string[]];
  /** The whole environment of the tool. */
  readonly env: Readonly<Record<string, string>>;
  /** A file that is there, the same for all tools that must not run beside each other; it is only locked. */
  readonly lockFile: string;
  readonly limitMs: number;
  /** How long it may take until others, another process's too, have ended. */
  readonly waitMs: number;
}

export type ToolAnswer =
  | { readonly kind: 'answered'; readonly code: number; readonly stdout: string; readonly stderr: string }
  /** It was killed, `isGone` or not, when its time was over. */
  | { readonly kind: 'hung'; readonly isGone: boolean }
  /** Another one held the lock for all of `waitMs`. */
  | { readonly kind: 'busy' }
  | { readonly kind: 'not-started'; readonly why: string };

const BUSY_CODE = 75;
const ASK_AGAIN_MS = 100;
/** SIGKILL works at once, or the process hangs in the kernel and waiting is no use. */
const KILL_LIMIT_MS = 2_000;
/** The largest table of a host with 16 chips has some ten thousand characters; of a longer answer the end counts, as of a log. */
const MAX_CHARACTERS = 1024 * 1024;

/** Resolves within `waitMs` + `limitMs` and some seconds, whatever the tool does. */
export async function askTool(call: ToolCall): Promise<ToolAnswer> {
  // Before flock, which would create a file that is not there.
  for (const [file, mode] of [
    [call.argv[0], constants.X_OK],
    [call.lockFile, constants.R_OK],
  ] as const) {
    const refused = await access(file, mode).then(
      () => undefined,
      (error: unknown) => String((error as NodeJS.ErrnoException).code),
    );
    if (refused !== undefined) return { kind: 'not-started', why: `${file} cannot be used (${refused})` };
  }
  const deadline = monotonicSeconds() + call.waitMs / 1000;
  for (;;) {
    const answer = await askOnce(call);
    if (answer.kind !== 'busy' || monotonicSeconds() >= deadline) return answer;
    await pause(ASK_AGAIN_MS);
  }
}

async function askOnce({ argv, env, lockFile, limitMs }: ToolCall): Promise<ToolAnswer> {
  // Detached: a group of its own, which is killed as a whole.
  const child = spawn('flock', ['-n', '-E', String(BUSY_CODE), lockFile, ...argv], {
    ...{ env, cwd: '/', detached: true, stdio: ['ignore', 'pipe', 'pipe'] },
  });
  const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)];
  const ended = new Promise<ToolAnswer>((resolve) => {
    child.once('error', (error) => {
      resolve({ kind: 'not-started', why: `flock could not be started (${error.message}): install util-linux` });
    });
    // `close` and not `exit`: what it has printed must have arrived.
    child.once('close', (code, signal) => {
      if (code === BUSY_CODE) resolve({ kind: 'busy' });
      // As a shell would tell of a signal: 128 and its number are not known here, only that it was none of our codes.
      else resolve({ kind: 'answered', code: code ?? 128, stdout: stdout(), stderr: `${stderr()}${signal ?? ''}` });
    });
  });
  const first = await Promise.race([ended, expiry(limitMs)]);
  if (first !== 'expired') return first;
  try {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
  } catch {
    // Gone in between.
  }
  const isGone = (await Promise.race([ended, expiry(KILL_LIMIT_MS)])) !== 'expired';
  if (!isGone) abandon(child.stdout, child.stderr, child);
  return { kind: 'hung', isGone };
}

function collect(stream: Readable): () => string {
  let text = '';
  stream.setEncoding('utf8').on('data', (chunk: string) => {
    text = (text + chunk).slice(-MAX_CHARACTERS);
  });
  return () => text;
}

/** So that a child in the kernel's hands does not keep this process from ending. */
function abandon(stdout: Readable, stderr: Readable, child: { unref(): void }): void {
  stdout.destroy();
  stderr.destroy();
  child.unref();
}

async function expiry(ms: number): Promise<'expired'> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms, 'expired').unref();
  });
}

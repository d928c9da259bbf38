/**
 * Runs a short command (converter, data preparation, publication, evaluation): its output goes straight to a log file and from
 * there to a listener, so that no pipe ties it to us. On abort it ends with everything it started. Were the agent killed, the
 * command would go on: the next attempt calls `killLeftovers` with its marker first.
 */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, open } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { stopEverything } from './kill.js';
import { tailFile } from './log-tail.js';
import type { CommandMarker } from './marker.js';
import { markerEnvironment } from './marker.js';
import { monotonicSeconds } from './wait.js';

const tailLines = 50;
const maxLineBytes = 16 * 1024;

export interface CommandSpec {
  readonly argv: readonly [string, ...string[]];
  /** The whole environment, PATH included (`inheritedEnvironment`); the marker is added. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** Standard output and error are appended here, in the order in which they were written. */
  readonly logFile: string;
  readonly marker: CommandMarker;
  readonly stdin?: string | undefined;
}

export interface CommandOptions {
  readonly signal?: AbortSignal | undefined;
  /** Each line of the output, without its end; cut after 16 KiB. */
  readonly onLine?: ((line: string) => void) | undefined;
  readonly timeoutMs?: number | undefined;
  /** Between SIGTERM and SIGKILL. Default 5 s. */
  readonly graceMs?: number | undefined;
}

export interface CommandResult {
  readonly elapsedMs: number;
  /** The last 50 lines of the output. */
  readonly tail: readonly string[];
}

/** `not-started` = the program or the folder is missing; `timeout` = it was ended by `timeoutMs`. */
export type CommandFailure = 'exit-code' | 'signal' | 'timeout' | 'not-started';

export class CommandFailed extends Error {
  override readonly name = 'CommandFailed';
  readonly kind: CommandFailure;
  readonly argv0: string;
  readonly rc: number | undefined;
  readonly signal: string | undefined;
  readonly tail: readonly string[];

  constructor(message: string, fields: Omit<CommandFailed, keyof Error>) {
    super(message);
    this.kind = fields.kind;
    this.argv0 = fields.argv0;
    this.rc = fields.rc;
    this.signal = fields.signal;
    this.tail = fields.tail;
  }
}

interface Ended {
  readonly rc?: number;
  readonly signal?: string;
  readonly startError?: string;
}

/**
 * Resolves when the command ended with 0. Rejects with `signal.reason` when aborted, after all its processes are gone (or 10 s of
 * SIGKILL did not help), with `CommandFailed` when it failed, and with what `onLine` throws, which ends it too.
 */
export async function runCommand(spec: CommandSpec, options: CommandOptions = {}): Promise<CommandResult> {
  const { signal, onLine, timeoutMs, graceMs = 5_000 } = options;
  signal?.throwIfAborted();
  const startedAt = monotonicSeconds();
  const tail: string[] = [];
  const outcome = await runToEnd(spec, {
    signal,
    timeoutMs,
    graceMs,
    onLine: (line) => {
      tail.push(line);
      if (tail.length > tailLines) tail.shift();
      onLine?.(line);
    },
  });
  signal?.throwIfAborted();
  const elapsedMs = Math.round((monotonicSeconds() - startedAt) * 1000);
  if (outcome.ended.rc !== 0 || outcome.timedOut) throw failure(spec, outcome, tail, elapsedMs);
  return { elapsedMs, tail };
}

interface Outcome {
  readonly ended: Ended;
  readonly timedOut: boolean;
}

type RunToEnd = CommandOptions & { readonly graceMs: number; readonly onLine: (line: string) => void };

async function runToEnd(spec: CommandSpec, { signal, timeoutMs, graceMs, onLine }: RunToEnd): Promise<Outcome> {
  // The id makes it this very command: others of the same stage may run beside it.
  const marker = { ...spec.marker, commandId: randomUUID() };
  await mkdir(dirname(spec.logFile), { recursive: true });
  const log = await open(spec.logFile, 'a');
  const fromByte = (await log.stat()).size;
  const child = start(spec, { ...spec.env, ...markerEnvironment(marker) }, log.fd);
  const stop = async (grace: number): Promise<void> => {
    if (child.pid !== undefined) await stopEverything({ marker, session: child.pid, graceMs: grace });
  };
  const reading = new AbortController();
  const interrupted = interruption(signal, timeoutMs);
  const lines = tailFile(spec.logFile, {
    ...{ fromByte, onLine, maxLineBytes, pollMs: 100, signal: reading.signal, lastLine: 'deliver' },
  });
  try {
    const first = await Promise.race([
      child.ended.then(() => 'ended' as const),
      interrupted.promise,
      lines.then(() => 'ended' as const),
    ]);
    if (first !== 'ended') await stop(graceMs);
    return { ended: await child.ended, timedOut: first === 'timeout' };
  } finally {
    interrupted.clear();
    // What it left in the background would go on writing what the next stage reads.
    await stop(0);
    reading.abort();
    await log.close();
    await lines;
  }
}

/** Plain `spawn`: output must go to the file itself, by descriptor, which execa allows only for its own streams. */
function start(
  { argv: [file, ...args], cwd, stdin }: CommandSpec,
  env: Readonly<Record<string, string>>,
  log: number,
): { readonly pid: number | undefined; readonly ended: Promise<Ended> } {
  // Detached = a session of its own: a Ctrl-C in our terminal must reach us alone, and its members can be found.
  const child = spawn(file, args, { cwd, env, detached: true, stdio: ['pipe', log, log] });
  const ended = new Promise<Ended>((resolve) => {
    child.once('error', (error) => {
      resolve({ startError: error.message });
    });
    child.once('exit', (rc, signal) => {
      resolve(rc === null ? { signal: String(signal) } : { rc });
    });
  });
  // A command may end without reading what we give it; its exit code tells whether that was wrong.
  child.stdin?.on('error', () => undefined).end(stdin ?? '');
  return { pid: child.pid, ended };
}

/** One promise for both ends from outside. */
function interruption(
  signal: AbortSignal | undefined,
  timeoutMs: number | undefined,
): { readonly promise: Promise<'aborted' | 'timeout'>; clear(): void } {
  let clear = (): void => undefined;
  const promise = new Promise<'aborted' | 'timeout'>((resolve) => {
    const onAbort = (): void => {
      resolve('aborted');
    };
    const timer = timeoutMs === undefined ? undefined : setTimeout(resolve, timeoutMs, 'timeout');
    signal?.addEventListener('abort', onAbort, { once: true });
    clear = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    };
  });
  return {
    promise,
    clear: () => {
      clear();
    },
  };
}

function failure(
  spec: CommandSpec,
  { ended, timedOut }: Outcome,
  tail: readonly string[],
  elapsedMs: number,
): CommandFailed {
  const argv0 = basename(spec.argv[0]);
  const kind: CommandFailure = timedOut
    ? 'timeout'
    : ended.startError !== undefined
      ? 'not-started'
      : ended.signal === undefined
        ? 'exit-code'
        : 'signal';
  const how = {
    timeout: 'was ended because it took longer than it may',
    'exit-code': `ended with exit code ${String(ended.rc)}`,
    signal: `was killed by ${String(ended.signal)}`,
    'not-started': `could not be started (${String(ended.startError)}; its folder is ${spec.cwd})`,
  }[kind];
  const last = tail.findLast((line) => line.trim() !== '');
  const output = last === undefined ? 'It wrote nothing' : `Its last line was: ${last.trim().slice(0, 500)}`;
  const message = `The command ${argv0} ${how} after ${(elapsedMs / 1000).toFixed(1)} s. ${output}\nThe whole output: ${spec.logFile}`;
  return new CommandFailed(message, { kind, argv0, rc: ended.rc, signal: ended.signal, tail });
}

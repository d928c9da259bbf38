/** A child process that is started again whenever it ends, with growing pauses, until it is told to stop. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, renameSync, statSync } from 'node:fs';
import { readProcess } from '../../process/proc.js';
import type { DevChild } from '../../client/dev-state.js';

export interface KeptSpec {
  readonly name: string;
  readonly program: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly logFile: string;
}

export interface KeptEvents {
  /** One line for the user. */
  readonly say: (line: string) => void;
  /** A process was started or has ended. */
  readonly changed: () => void;
  /** It will not be started again: it ended too often right after its start. */
  readonly gaveUp: (message: string) => void;
}

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;
/** Alive for so long, it counts as well, and its next end is a first one. */
const STEADY_MS = 30_000;
/** So many ends in a row without ever being steady are a fault that a restart does not mend. */
const MAX_ENDS = 8;
const LOG_LIMIT_BYTES = 20_000_000;
/** A process that outlives SIGKILL for so long hangs in the kernel, and waiting is no use. */
const KILL_LIMIT_MS = 5_000;

export class KeptProcess {
  readonly spec: KeptSpec;
  readonly #events: KeptEvents;
  #child: ChildProcess | undefined;
  #identity: DevChild | undefined;
  #isStopping = false;
  #ends = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(spec: KeptSpec, events: KeptEvents) {
    this.spec = spec;
    this.#events = events;
  }

  /** The living process, if there is one. */
  get identity(): DevChild | undefined {
    return this.#identity;
  }

  start(): void {
    if (this.#isStopping) return;
    const { program, args, env, cwd, logFile, name } = this.spec;
    rotate(logFile);
    const log = openSync(logFile, 'a', 0o600);
    // Detached: a Ctrl-C in the terminal must reach `anneal dev` alone, which ends its children in order.
    const child = spawn(program, [...args], { cwd, env, detached: true, stdio: ['ignore', log, log] });
    closeSync(log);
    this.#child = child;
    const startedAt = Date.now();
    const ended = (how: string): void => {
      this.#ended(how, Date.now() - startedAt);
    };
    child.once('error', (error) => {
      ended(`could not be started (${error.message})`);
    });
    child.once('exit', (code, signal) => {
      ended(signal === null ? `ended with code ${String(code)}` : `was ended by ${signal}`);
    });
    const row = child.pid === undefined ? undefined : readProcess(child.pid);
    if (row !== undefined) this.#identity = { name, pid: row.pid, startTicks: String(row.start) };
    this.#events.changed();
  }

  /** SIGTERM, grace, SIGKILL. Returns when the process is gone. */
  async stop(graceMs: number): Promise<void> {
    this.#isStopping = true;
    clearTimeout(this.#timer);
    const child = this.#child;
    if (child?.pid === undefined || hasEnded(child)) return;
    child.kill('SIGTERM');
    if (await endsWithin(child, graceMs)) return;
    this.#events.say(`${this.spec.name} does not end; it is killed.`);
    this.kill();
    await endsWithin(child, KILL_LIMIT_MS);
  }

  /** At once, with what it started in its own session. */
  kill(): void {
    this.#isStopping = true;
    clearTimeout(this.#timer);
    const child = this.#child;
    if (child?.pid === undefined || hasEnded(child)) return;
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch {
      child.kill('SIGKILL');
    }
  }

  #ended(how: string, livedMs: number): void {
    this.#identity = undefined;
    this.#events.changed();
    if (this.#isStopping) return;
    this.#ends = livedMs >= STEADY_MS ? 1 : this.#ends + 1;
    const { name, logFile } = this.spec;
    if (this.#ends >= MAX_ENDS) {
      this.#isStopping = true;
      this.#events.gaveUp(`${name} ${how}, ${String(this.#ends)} times in a row. What it said: ${logFile}`);
      return;
    }
    const pauseMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (this.#ends - 1));
    this.#events.say(`${name} ${how}; it is started again in ${String(pauseMs / 1000)} s. What it said: ${logFile}`);
    this.#timer = setTimeout(() => {
      this.start();
    }, pauseMs);
  }
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

async function endsWithin(child: ChildProcess, limitMs: number): Promise<boolean> {
  if (hasEnded(child)) return true;
  const limit = AbortSignal.timeout(limitMs);
  return once(child, 'exit', { signal: limit }).then(
    () => true,
    () => hasEnded(child),
  );
}

/** One older log is kept. */
function rotate(logFile: string): void {
  try {
    if (statSync(logFile).size > LOG_LIMIT_BYTES) renameSync(logFile, `${logFile}.1`);
  } catch {
    // There is none yet.
  }
}

/** A process that is started again whenever it ends, as systemd would do; a test says how long it stays down. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { cleanEnvironment } from '../dev-cluster.js';

export interface KeptCommand {
  readonly program: string;
  readonly args: readonly string[];
  readonly folder: string;
  readonly logFile: string;
}

const RESTART_MS = 500;
const END_LIMIT_MS = 20_000;

export class Kept {
  readonly #command: KeptCommand;
  #child: ChildProcess | undefined;
  #isHeld = false;
  #isStopping = false;

  constructor(command: KeptCommand) {
    this.#command = command;
    this.#start();
  }

  /** 0 while there is none. */
  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Ends it at once; it is not started again before `release`. */
  strikeDown(): void {
    this.#isHeld = true;
    this.#child?.kill('SIGKILL');
  }

  release(): void {
    this.#isHeld = false;
    if (this.#child === undefined) this.#start();
  }

  /** SIGTERM, and SIGKILL when that is not enough. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    const child = this.#child;
    if (child === undefined) return;
    const ended = once(child, 'exit');
    child.kill('SIGCONT');
    child.kill('SIGTERM');
    const late = setTimeout(() => child.kill('SIGKILL'), END_LIMIT_MS);
    await ended;
    clearTimeout(late);
  }

  #start(): void {
    if (this.#isHeld || this.#isStopping || this.#child !== undefined) return;
    const { program, args, folder, logFile } = this.#command;
    const log = openSync(logFile, 'a');
    const child = spawn(program, args, { cwd: folder, env: cleanEnvironment(), stdio: ['ignore', log, log] });
    closeSync(log);
    this.#child = child;
    child.once('exit', () => {
      this.#child = undefined;
      setTimeout(() => {
        this.#start();
      }, RESTART_MS);
    });
  }
}

/** Counts, over a whole row, how many trainers of each node live at the same time: by /proc, since no record can be trusted here. */
import { readdirSync } from 'node:fs';
import { environmentOf, readProcess } from '../../../src/process/proc.js';
import { commandLine } from '../folder-processes.mjs';

const LOOK_MS = 20;
/** A process that carries no marker for so long after it was first seen is a stranger, and not looked at again for a while. */
const STRANGE_MS = 1_000;
const FORGET_MS = 10_000;

interface Rank {
  readonly pid: number;
  readonly ppid: number;
  readonly start: number;
  readonly node: string;
}

export class TrainerCount {
  /** The most that were ever seen at once of one node. */
  most = 0;
  /** All that were ever seen, by node: each training process by pid and start. */
  readonly #seen = new Map<string, Set<string>>();
  readonly #runId: string;
  readonly #timer: NodeJS.Timeout;
  /** Names in /proc without the run's marker, and when they were first seen so. */
  readonly #unmarked = new Map<string, number>();
  #forgetAt = 0;

  constructor(runId: string) {
    this.#runId = runId;
    this.#timer = setInterval(() => {
      this.#look();
    }, LOOK_MS);
  }

  /** How many each node has had, one after another; the most of any node. */
  get started(): number {
    return Math.max(0, ...[...this.#seen.values()].map(({ size }) => size));
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const now = Date.now();
    if (now > this.#forgetAt) {
      this.#unmarked.clear();
      this.#forgetAt = now + FORGET_MS;
    }
    const ranks = readdirSync('/proc').flatMap((name) => this.#rank(name, now));
    const pids = new Set(ranks.map(({ pid }) => pid));
    const byNode = new Map<string, number>();
    // What a trainer forks for itself is part of it.
    for (const { pid, ppid, start, node } of ranks) {
      if (pids.has(ppid)) continue;
      byNode.set(node, (byNode.get(node) ?? 0) + 1);
      this.#seen.set(node, (this.#seen.get(node) ?? new Set()).add(`${String(pid)} ${String(start)}`));
    }
    this.most = Math.max(this.most, ...byNode.values());
  }

  /** The process, if it trains for our run; its supervisor and its launcher carry the same marker and do not. */
  #rank(name: string, now: number): readonly Rank[] {
    const pid = Number(name);
    if (!Number.isInteger(pid) || now - (this.#unmarked.get(name) ?? now) > STRANGE_MS) return [];
    const environment = environmentOf(pid);
    const node = environment.find((entry) => entry.startsWith('ANNEAL_NODE_RANK='));
    if (node === undefined || !environment.includes(`ANNEAL_RUN_ID=${this.#runId}`)) {
      if (!this.#unmarked.has(name)) this.#unmarked.set(name, now);
      return [];
    }
    const command = commandLine(pid);
    const row = command.some(isTrainer) && !command.some(isLauncher) ? readProcess(pid) : undefined;
    return row === undefined ? [] : [{ pid, ppid: row.ppid, start: row.start, node }];
  }
}

const isTrainer = (part: string): boolean => /\/pretrain_\w+\.py$/.test(part);
const isLauncher = (part: string): boolean => part.endsWith('/torchrun');

/** A run of a row as its own files tell of it at this very moment: read at once and without an engine in between. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkpointPrefix } from '../../../src/contract/store-keys.js';
import type { Plan } from '../../../src/plan/plan.js';
import type { RunFact } from '../../../src/plan/run-log.js';
import { environmentOf, processTable, readProcess } from '../../../src/process/proc.js';
import type { Place } from '../place.js';
import type { Trainer } from '../trainers.js';

export class Scene {
  readonly cluster: Place;
  readonly runId: string;
  readonly plan: Plan;
  /** Of this generation, by node; none while nothing trains. */
  readonly trainers: readonly Trainer[];
  readonly generation: number;

  constructor(cluster: Place, runId: string, plan: Plan, trainers: readonly Trainer[], generation = 1) {
    this.cluster = cluster;
    this.runId = runId;
    this.plan = plan;
    this.trainers = trainers;
    this.generation = generation;
  }

  trainer(node: number): Trainer {
    const found = this.trainers[node];
    if (found === undefined) throw new Error(`Run ${this.runId} has no trainer of node ${String(node)}.`);
    return found;
  }

  /** The last iteration that a generation measured; 0 before its first. */
  measured(generation = this.generation): number {
    const { reportingNode } = this.plan.gang;
    for (const host of this.cluster.hosts) {
      const folder = join(
        this.cluster.workRoot(host),
        'trainers',
        this.runId,
        String(generation),
        String(reportingNode),
      );
      // The last line may be half written.
      const line = readText(join(folder, 'metrics.jsonl')).split('\n').at(-2);
      if (line !== undefined) return (JSON.parse(line) as { iteration: number }).iteration;
    }
    return 0;
  }

  /** The newest save that is complete on the hosts. */
  tracked(): number {
    return Number(readText(join(this.trainer(0).dir, 'save', 'latest_checkpointed_iteration.txt')));
  }

  /** The newest save of which a node has written anything. */
  begun(node: number): number {
    return Math.max(0, ...names(join(this.trainer(node).dir, 'save')).map(iterationOf));
  }

  /** How many of the node's files of a save are in the store. */
  partsSent(iteration: number, node: number): number {
    const mine = this.plan.gang.checkpointFiles.filter(({ writtenBy }) => writtenBy === node);
    return mine.filter(({ path }) => existsSync(join(this.checkpoint(iteration), path))).length;
  }

  hasManifest(iteration: number, node: number): boolean {
    return existsSync(join(this.checkpoint(iteration), `node-${String(node)}.json`));
  }

  facts(): readonly RunFact[] {
    const folder = join(this.cluster.storeFolder, 'runs', this.runId, 'log');
    return names(folder)
      .filter((name) => name.endsWith('.json'))
      .sort()
      .map((name) => JSON.parse(readText(join(folder, name))) as RunFact);
  }

  isCommitted(iteration: number): boolean {
    return this.facts().some((fact) => fact.fact === 'commit' && fact.iteration === iteration);
  }

  /** The host on which the command of a stage has written something into `output`, and that command. */
  working(stage: string, output: string): { readonly host: string; readonly command: number } | undefined {
    for (const host of this.cluster.hosts) {
      const folder = join(this.cluster.workRoot(host), 'runs', this.runId, stage, output);
      if (names(folder).length === 0) continue;
      const command = this.#commandOf(stage, host);
      if (command !== undefined) return { host, command };
    }
    return undefined;
  }

  /** The process that the agent started for a stage, which is the leader of its session. */
  #commandOf(stage: string, host: string): number | undefined {
    const agent = this.cluster.pidOf(host);
    for (const { pid, ppid } of processTable().values()) {
      if (ppid !== agent) continue;
      const environment = environmentOf(pid);
      if (environment.includes(`ANNEAL_RUN_ID=${this.runId}`) && environment.includes(`ANNEAL_STAGE=${stage}`))
        return pid;
    }
    return undefined;
  }

  /** Where a save of this generation lies in the store. */
  checkpoint(iteration: number): string {
    return join(this.cluster.storeFolder, checkpointPrefix(this.runId, this.generation, iteration));
  }
}

const iterationOf = (folder: string): number => Number(/^iter_(\d{7})$/.exec(folder)?.[1] ?? 0);

/** Empty when there is no such file or folder yet. */
function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

export function names(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** A process by pid and start: another one with its pid is not it. */
export interface Identity {
  readonly pid: number;
  readonly start: number;
}

export function identify(pid: number): Identity {
  const start = readProcess(pid)?.start;
  if (start === undefined) throw new Error(`Process ${String(pid)} is gone.`);
  return { pid, start };
}

export function lives({ pid, start }: Identity): boolean {
  return readProcess(pid)?.start === start;
}

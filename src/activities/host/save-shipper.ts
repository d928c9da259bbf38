/**
 * Ships a node's part of each save while training goes on. Node 0 alone sees the tracker move: it names the iteration in the
 * store, and every node ships exactly the iterations so named, its own manifest last.
 */
import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Backend } from '../../backends/backend.js';
import { checkpointPrefix, generationFolder, nodeManifestName, savedName } from '../../contract/store-keys.js';
import type { GangInput } from '../../contract/activities.js';
import type { GangPlan } from '../../plan/plan.js';
import { fileSetOf, publishFileSet } from '../../storage/file-set.js';
import { sha256File } from '../../storage/hashing.js';
import type { ObjectStore } from '../../storage/object-store.js';
import type { ShippedLog } from './log-shipper.js';

/** Saves that are named and not shipped by all. A store slower than the saves skips some, for all nodes alike. */
const OPEN_SAVES = 2;

export interface SaveFolder {
  readonly store: ObjectStore;
  readonly backend: Backend;
  readonly gang: GangPlan;
  readonly node: GangInput;
  /** The generation's save folder on this host. */
  readonly folder: string;
  /** Of the node that reports iterations: what it has measured goes first, so a commit never has a hole in the loss record before it. */
  readonly metrics?: Pick<ShippedLog, 'flush'> | undefined;
}

export class SaveShipper {
  /** The newest iteration whose part of this node is in the store, manifest included. */
  shippedIteration = 0;
  /** Why the last turn could not ship, if it could not. */
  problem: unknown = undefined;
  private readonly at: SaveFolder;
  /** What this node writes of each save; a node of further data-parallel ranks alone writes nothing. */
  private readonly mine: GangPlan['checkpointFiles'];
  /** Names in the store by iteration, as the last look found them; undefined before the first. */
  private named: ReadonlyMap<number, ReadonlySet<string>> | undefined;

  constructor(at: SaveFolder) {
    this.at = at;
    this.mine = at.gang.checkpointFiles.filter(({ writtenBy }) => writtenBy === at.node.nodeRank);
  }

  /** One look and what follows from it. Safe to repeat: everything it writes is create-once with the same body. */
  async turn(signal: AbortSignal): Promise<void> {
    try {
      if (await this.isIdle()) return;
      const named = await this.namedSaves();
      if (this.at.node.nodeRank === 0) await this.nameSave(named);
      this.named = named;
      const mine = nodeManifestName(this.at.node.nodeRank);
      this.shippedIteration = newest(named, (names) => names.has(mine), this.shippedIteration);
      const wanted = [...named.keys()].filter((iteration) => this.isWanted(iteration)).sort((a, b) => a - b);
      for (const iteration of wanted) if (await this.ship(iteration, signal)) this.shippedIteration = iteration;
      // Shipping takes its time: what was named meanwhile must not be pruned.
      if (wanted.length > 0) this.named = await this.namedSaves();
      this.problem = undefined;
    } catch (error) {
      this.problem = error;
      throw error;
    } finally {
      await this.prune();
    }
  }

  /** Between two saves, which is most of the time, the store is not asked: nothing that it could name would be here. */
  private async isIdle(): Promise<boolean> {
    if (this.named === undefined || this.problem !== undefined || this.mine.length === 0) return false;
    const [newestHere = 0] = await this.savesHere();
    return newestHere <= this.shippedIteration;
  }

  /** Iterations in the save folder, newest first. */
  private async savesHere(): Promise<readonly number[]> {
    const { backend, folder } = this.at;
    const names = await readdir(folder).catch(() => []);
    const saves = names.map((name) => backend.parseIterationFolder(name)).filter((one) => one !== undefined);
    return saves.sort((a, b) => b - a);
  }

  /** To be shipped by us. Nodes ship in order. */
  private isWanted(iteration: number): boolean {
    return iteration > this.shippedIteration && this.isNamed(iteration);
  }

  /** Every node ships it. Of those that not all have shipped yet there are few: node 0 names no more. */
  isNamed(iteration: number): boolean {
    const names = this.named?.get(iteration);
    return names?.has(savedName) === true && !isGone(names);
  }

  private isWhole(names: ReadonlySet<string>): boolean {
    return Array.from({ length: this.at.gang.hosts }, (_, rank) => nodeManifestName(rank)).every((one) =>
      names.has(one),
    );
  }

  /** What lies beside the checkpoints of this generation in the store: iteration to the names there that are ours. */
  private async namedSaves(): Promise<Map<number, Set<string>>> {
    const { store, backend, node } = this.at;
    const prefix = generationFolder(node.runId, node.generation);
    const named = new Map<number, Set<string>>();
    for await (const { key } of store.list(prefix)) {
      const [folder = '', name = '', ...deeper] = key.slice(prefix.length).split('/');
      const iteration = backend.parseIterationFolder(folder);
      if (iteration === undefined || deeper.length > 0) continue;
      const names = named.get(iteration) ?? new Set<string>();
      named.set(iteration, names.add(name));
    }
    return named;
  }

  /** The tracker proves that every rank has closed its files of the iteration; before that nobody may ship them. */
  private async nameSave(named: Map<number, Set<string>>): Promise<void> {
    const { store, backend, node, folder } = this.at;
    const tracker = backend.parseTracker(await readFile(join(folder, backend.trackerFile), 'utf8').catch(() => ''));
    if (tracker.kind !== 'iteration' || named.get(tracker.iteration)?.has(savedName) === true) return;
    // Nodes ship in order, so what is older than a save of all of them will never be whole.
    const done = newest(named, (names) => this.isWhole(names));
    const open = [...named].filter(([iteration, names]) => iteration > done && names.has(savedName) && !isGone(names));
    if (open.length >= OPEN_SAVES) return;
    const key = `${checkpointPrefix(node.runId, node.generation, tracker.iteration)}${savedName}`;
    await store.create(key, JSON.stringify({ generation: node.generation, iteration: tracker.iteration }));
    named.set(tracker.iteration, new Set(named.get(tracker.iteration)).add(savedName));
  }

  /** False for a save that was named when this node had already pruned it: it says so, and nobody waits for it. */
  private async ship(iteration: number, signal: AbortSignal): Promise<boolean> {
    const { store, backend, node, folder, metrics } = this.at;
    const source = join(folder, backend.iterationFolder(iteration));
    const prefix = checkpointPrefix(node.runId, node.generation, iteration);
    if (this.mine.length > 0 && !(await isFolder(source))) {
      await store.create(`${prefix}${goneName(node.nodeRank)}`, '{}');
      return false;
    }
    const files = await Promise.all(
      this.mine.map(async ({ path }) => ({ path, ...(await sha256File(join(source, path), { signal })) })),
    );
    const manifestKey = `${prefix}${nodeManifestName(node.nodeRank)}`;
    await metrics?.flush();
    await publishFileSet(store, source, fileSetOf(files), { prefix, manifestKey }, { signal });
    return true;
  }

  /**
   * Megatron never deletes, and a store may be away for hours: what was shipped, and what was skipped, only fills the disk. The
   * tracker names the newest save or, while that is being written, the one before; older ones are named by now or never. The newest
   * save that all nodes have shipped is, or is about to be, the commit that a next generation restores: this host then has its part.
   */
  private async prune(): Promise<void> {
    const { backend, folder } = this.at;
    if (this.named === undefined) return;
    const saves = await this.savesHere();
    const [, before = 0] = saves;
    const whole = newest(this.named, (names) => this.isWhole(names));
    for (const iteration of saves)
      if (iteration < Math.max(before, this.shippedIteration) && !(iteration >= whole && this.isNamed(iteration)))
        await rm(join(folder, backend.iterationFolder(iteration)), { recursive: true, force: true });
  }
}

const goneName = (nodeRank: number): string => `gone-${String(nodeRank)}.json`;
const isGone = (names: ReadonlySet<string>): boolean => [...names].some((name) => name.startsWith('gone-'));

/** The highest iteration whose names are as asked, or `atLeast`. */
function newest(
  named: ReadonlyMap<number, ReadonlySet<string>>,
  is: (names: ReadonlySet<string>) => boolean,
  atLeast = 0,
): number {
  return Math.max(atLeast, ...[...named].flatMap(([iteration, names]) => (is(names) ? [iteration] : [])));
}

function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

/**
 * Ships a node's part of each save while training goes on. Node 0 alone sees the tracker move: it names the iteration in the
 * store, and every node ships exactly the iterations so named, its own manifest last.
 */
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Backend } from '../../backends/backend.js';
import { checkpointPrefix, generationFolder, nodeManifestName, savedName } from '../../contract/store-keys.js';
import type { GangInput } from '../../contract/activities.js';
import type { GangPlan } from '../../plan/plan.js';
import { fileSetOf, publishFileSet } from '../../storage/file-set.js';
import { sha256File } from '../../storage/hashing.js';
import type { ObjectStore } from '../../storage/object-store.js';

/** Saves that are named and not shipped by all. A store slower than the saves skips some, for all nodes alike. */
const OPEN_SAVES = 2;

export interface SaveFolder {
  readonly store: ObjectStore;
  readonly backend: Backend;
  readonly gang: GangPlan;
  readonly node: GangInput;
  /** The generation's save folder on this host. */
  readonly folder: string;
}

export class SaveShipper {
  /** The newest iteration whose part of this node is in the store, manifest included. */
  shippedIteration = 0;
  private readonly at: SaveFolder;

  constructor(at: SaveFolder) {
    this.at = at;
  }

  /** One look and what follows from it. Safe to repeat: everything it writes is create-once with the same body. */
  async turn(signal: AbortSignal): Promise<void> {
    const named = await this.namedSaves();
    if (this.at.node.nodeRank === 0) await this.nameSave(named);
    const mine = nodeManifestName(this.at.node.nodeRank);
    for (const [iteration, names] of [...named].sort(([a], [b]) => a - b)) {
      if (!names.has(savedName)) continue;
      if (!names.has(mine)) await this.ship(iteration, signal);
      this.shippedIteration = Math.max(this.shippedIteration, iteration);
    }
    await this.prune();
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
    const { store, backend, gang, node, folder } = this.at;
    const tracker = backend.parseTracker(await readFile(join(folder, backend.trackerFile), 'utf8').catch(() => ''));
    if (tracker.kind !== 'iteration' || named.get(tracker.iteration)?.has(savedName) === true) return;
    const open = [...named.values()].filter(
      (names) =>
        names.has(savedName) &&
        !Array.from({ length: gang.hosts }, (_, rank) => rank).every((rank) => names.has(nodeManifestName(rank))),
    );
    if (open.length >= OPEN_SAVES) return;
    const key = `${checkpointPrefix(node.runId, node.generation, tracker.iteration)}${savedName}`;
    await store.create(key, JSON.stringify({ generation: node.generation, iteration: tracker.iteration }));
    named.set(tracker.iteration, new Set(named.get(tracker.iteration)).add(savedName));
  }

  private async ship(iteration: number, signal: AbortSignal): Promise<void> {
    const { store, backend, gang, node, folder } = this.at;
    const source = join(folder, backend.iterationFolder(iteration));
    const mine = gang.checkpointFiles.filter(({ writtenBy }) => writtenBy === node.nodeRank);
    const files = await Promise.all(
      mine.map(async ({ path }) => ({ path, ...(await sha256File(join(source, path), { signal })) })),
    );
    const prefix = checkpointPrefix(node.runId, node.generation, iteration);
    const manifestKey = `${prefix}${nodeManifestName(node.nodeRank)}`;
    await publishFileSet(store, source, fileSetOf(files), { prefix, manifestKey }, { signal });
  }

  /** Megatron never deletes: what is older than the newest shipped save only fills the disk. */
  private async prune(): Promise<void> {
    const { backend, folder } = this.at;
    for (const name of await readdir(folder).catch(() => [])) {
      const iteration = backend.parseIterationFolder(name);
      if (iteration !== undefined && iteration < this.shippedIteration)
        await rm(join(folder, name), { recursive: true, force: true });
    }
  }
}

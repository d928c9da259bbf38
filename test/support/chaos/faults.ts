/** How each fault is done to a cluster, and what ends it some seconds later. */
import { statfs, writeFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pause } from '../../../src/process/wait.js';
import { processesOf as workingOn } from '../folder-processes.mjs';
import { flipByte } from '../run-files.js';
import { lives, type Identity, type Scene } from '../survives/scene.js';
import { living, signal } from '../survives/strike.js';
import type { ChaosCluster } from './cluster.js';
import type { Fault, LinkName, Victim } from './schedule.js';

/** What a strike is aimed at. */
export interface Target {
  readonly cluster: ChaosCluster;
  readonly scene: Scene;
  readonly host: string;
  readonly node: number;
}

/** What came of a fault: why it could not strike, or what ends it. */
export type Inflicted =
  | { readonly skipped: string }
  /** `damaged` is the prefix of a commit. */
  | { readonly heal: () => Promise<void>; readonly damaged?: string };

const NOTHING_TO_HEAL = { heal: () => Promise.resolve() };
const FILLER = 'somebody-elses.log';
/** What is kept under which name. */
const KEPT_AS: Readonly<Partial<Record<Victim, string>>> = {
  'control worker': 'worker',
  Temporal: 'temporal',
  S3: 's3',
};

export async function inflict({ kind, seconds }: Fault, target: Target): Promise<Inflicted> {
  const [act, ...rest] = kind.split(' ');
  const what = rest.join(' ');
  switch (act) {
    case 'kill':
      return kill(what as Victim, seconds, target);
    case 'freeze':
      return freeze(what as Victim, seconds, target);
    case 'cut':
    case 'stall':
    case 'slow':
      return disturb(act, rest[0] as LinkName, seconds, target);
    case 'fill':
      return fillDisk(seconds, target);
    default:
      return corrupt(target);
  }
}

/** By name of what is kept, or by the trainer's own processes. */
function processesOf(victim: Victim, { cluster, scene, host, node }: Target): readonly Identity[] {
  const trainer = scene.trainers[node];
  const ofTrainer = trainer === undefined ? [] : [trainer.supervisor, trainer.launcher, trainer.rank];
  switch (victim) {
    case 'rank':
      return ofTrainer.slice(2).flatMap(living);
    case 'torchrun':
      return ofTrainer.slice(1, 2).flatMap(living);
    case 'supervisor':
      return ofTrainer.slice(0, 1).flatMap(living);
    case 'agent':
      return living(cluster.pidOf(host));
    case 'host':
      // The agent, and whatever works on the host's disk.
      return [cluster.pidOf(host), ...workingOn(cluster.workRoot(host)).map(({ pid }) => pid)].flatMap(living);
    default:
      return living(cluster.pidOf(KEPT_AS[victim] ?? ''));
  }
}

function kill(victim: Victim, seconds: number, target: Target): Inflicted {
  const { cluster, host } = target;
  const processes = processesOf(victim, target);
  if (processes.length === 0) return { skipped: 'it is not there' };
  if (victim === 'S3') {
    const { gateway } = cluster;
    void gateway?.kill();
    return { heal: () => pause(seconds * 1000).then(() => gateway?.run()) };
  }
  const kept = victim === 'agent' || victim === 'host' ? cluster.kept(host) : keptFor(victim, cluster);
  kept?.strikeDown();
  for (const { pid } of processes) signal(pid, 'SIGKILL');
  if (kept === undefined) return NOTHING_TO_HEAL;
  return {
    heal: async () => {
      await pause(seconds * 1000);
      kept.release();
    },
  };
}

function keptFor(victim: Victim, cluster: ChaosCluster): ReturnType<ChaosCluster['kept']> | undefined {
  const name = KEPT_AS[victim];
  return name === undefined ? undefined : cluster.kept(name);
}

function freeze(victim: Victim, seconds: number, target: Target): Inflicted {
  const { frozen } = target.cluster;
  const processes = processesOf(victim, target).filter(({ pid }) => !frozen.has(pid));
  if (processes.length === 0) return { skipped: 'it is not there' };
  for (const { pid } of processes) {
    frozen.add(pid);
    signal(pid, 'SIGSTOP');
  }
  return {
    heal: async () => {
      await pause(seconds * 1000);
      for (const one of processes) {
        frozen.delete(one.pid);
        if (lives(one)) signal(one.pid, 'SIGCONT');
      }
    },
  };
}

function disturb(act: 'cut' | 'stall' | 'slow', link: LinkName, seconds: number, { cluster, host }: Target): Inflicted {
  const line = cluster.linesOf(host)[link === 'Temporal' ? 'temporal' : 'store'];
  if (line === undefined) return { skipped: 'the store is a folder' };
  line[act]();
  return {
    heal: async () => {
      await pause(seconds * 1000);
      line.mend();
    },
  };
}

async function fillDisk(seconds: number, { cluster, host }: Target): Promise<Inflicted> {
  if (!cluster.hasDisks) return { skipped: 'no mount namespace' };
  const folder = cluster.workRoot(host);
  const { bavail, bsize } = await statfs(folder);
  const file = join(folder, FILLER);
  await writeFile(file, Buffer.alloc(bavail * bsize)).catch(() => undefined);
  return {
    heal: async () => {
      await pause(seconds * 1000);
      await rm(file, { force: true });
    },
  };
}

/** A file of the last commit, as the log names it. */
async function corrupt({ cluster, scene, node }: Target): Promise<Inflicted> {
  const last = scene.facts().findLast((fact) => fact.fact === 'commit');
  if (last === undefined) return { skipped: 'there is no commit' };
  const shard = scene.plan.gang.checkpointFiles.find(({ readBy }) => readBy.includes(node));
  if (shard === undefined) return { skipped: 'the node reads nothing of it' };
  await flipByte(join(cluster.storeFolder, last.checkpoint.prefix, shard.path));
  return { ...NOTHING_TO_HEAL, damaged: last.checkpoint.prefix };
}

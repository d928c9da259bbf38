/** How the moments of a schedule are seen: those of the kill table, and some that only whole gangs and later generations have. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { checkpointManifestName } from '../../../src/contract/store-keys.js';
import { SIGHTS, type Sight } from '../survives/moments.js';
import type { Scene } from '../survives/scene.js';
import { trainerFolder } from '../trainers.js';
import { TRAINER_KINDS, type Moment, type Strike } from './schedule.js';

const agents = (scene: Scene): readonly number[] => hostsNow(scene.facts()).map((host) => scene.cluster.pidOf(host));
const worker = ({ cluster }: Scene): readonly number[] => [cluster.pidOf('worker')];

/** The hosts of the newest generation, by node. */
export function hostsNow(facts: ReturnType<Scene['facts']>): readonly string[] {
  return facts.findLast((fact) => fact.fact === 'open')?.hosts ?? [];
}

/** The save whose node manifests are all there, and whether the whole has one. */
function shipped(scene: Scene): { readonly save: number; readonly isWhole: boolean } | undefined {
  const save = scene.tracked();
  if (save === 0 || !scene.trainers.every(({ nodeRank }) => scene.hasManifest(save, nodeRank))) return undefined;
  return { save, isWhole: existsSync(join(scene.checkpoint(save), checkpointManifestName)) };
}

const OWN: Readonly<Partial<Record<Moment, Sight>>> = {
  'iteration reached': { now: (scene) => scene.measured() || undefined, keepers: () => [] },
  'manifest written': {
    now: (scene) => {
      const found = shipped(scene);
      return found?.isWhole === true && !scene.isCommitted(found.save) ? found.save : undefined;
    },
    keepers: worker,
    near: (scene) => {
      const found = shipped(scene);
      return found !== undefined && !scene.isCommitted(found.save);
    },
  },
  'commit made': {
    now: (scene) => {
      const last = scene.facts().findLast((fact) => fact.fact === 'commit');
      return last?.generation === scene.generation ? last.iteration : undefined;
    },
    keepers: () => [],
  },
  'stage-in begun': {
    now: (scene, node) => {
      const host = hostsNow(scene.facts())[node];
      if (host === undefined) return undefined;
      const dir = trainerFolder(scene.cluster, host, scene.runId, scene.generation, node);
      return existsSync(join(dir, 'save')) && !existsSync(join(dir, 'record.json'))
        ? scene.plan.gang.iterations
        : undefined;
    },
    keepers: agents,
  },
};

/** The sight of a moment from this iteration on. */
export function sightOf(moment: Moment, after: number): Sight {
  const sight = OWN[moment] ?? SIGHTS[moment as keyof typeof SIGHTS];
  if (!isOfIteration(moment)) return sight;
  return {
    ...sight,
    now: (scene, node) => {
      const at = sight.now(scene, node);
      return at !== undefined && at >= after ? at : undefined;
    },
  };
}

export const isOfIteration = (moment: Moment): boolean => moment !== 'stage-in begun' && moment !== 'publish half done';

/** A commit is made, a host staged in and a model published whether trainers live or not. */
const WITHOUT_TRAINERS: readonly Moment[] = ['commit made', 'stage-in begun', 'publish half done'];

export function needsTrainers({ moment, faults }: Strike): boolean {
  return !WITHOUT_TRAINERS.includes(moment) || faults.some(({ kind }) => TRAINER_KINDS.includes(kind));
}

/** The moments of the kill table: how each is seen in a run's files, and who must stand still for it to last. */
import type { Moment } from './table.js';
import { EVERY } from './table.js';
import type { Scene } from './scene.js';

/** Between two saves, with one behind it. */
const REACHED = 17;

export interface Sight {
  /**
   * The save or the iteration of the moment, if it is that moment now. For one node where the moment is a node's.
   * Saves have one before them, so that what is lost and what is not can be told apart.
   */
  readonly now: (scene: Scene, node: number) => number | undefined;
  /** Whoever would end the moment. */
  readonly keepers: (scene: Scene) => readonly number[];
  /** Of a moment of milliseconds: what comes before it, from when on its keepers go step by step. */
  readonly near?: (scene: Scene, node: number) => boolean;
}

const ranks = ({ trainers }: Scene): readonly number[] => trainers.map(({ rank }) => rank);
const agents = ({ cluster, trainers }: Scene): readonly number[] => trainers.map(({ host }) => cluster.pidOf(host));
const nodes = (scene: Scene): readonly number[] => scene.trainers.map(({ nodeRank }) => nodeRank);

/** Neither the first save, which has none before it, nor the last, after which there is no iteration. */
const between = (scene: Scene, save: number): boolean => save > EVERY && save < scene.plan.gang.iterations;

function savedNotShipped(scene: Scene, node: number): number | undefined {
  const save = scene.tracked();
  return between(scene, save) && !scene.hasManifest(save, node) ? save : undefined;
}

export const SIGHTS: Readonly<Record<Moment, Sight>> = {
  'iteration reached': {
    now: (scene) => (scene.measured() >= REACHED ? scene.measured() : undefined),
    keepers: () => [],
  },
  'save begun': {
    now: (scene, node) => {
      const save = scene.begun(node);
      return between(scene, save) && scene.tracked() < save ? save : undefined;
    },
    keepers: ranks,
  },
  'saved, not shipped': { now: savedNotShipped, keepers: agents },
  'part sent': {
    now: (scene, node) => {
      const save = savedNotShipped(scene, node);
      return save !== undefined && scene.partsSent(save, node) > 0 ? save : undefined;
    },
    keepers: agents,
    near: (scene, node) => savedNotShipped(scene, node) !== undefined,
  },
  'shipped, not committed': {
    now: (scene) => {
      // While the control worker stands still the training goes on: with a newer save the moment is over.
      const save = scene.tracked();
      const isShipped = between(scene, save) && nodes(scene).every((node) => scene.hasManifest(save, node));
      return isShipped && !scene.isCommitted(save) ? save : undefined;
    },
    keepers: ({ cluster }) => [cluster.pidOf('worker')],
  },
  'last iteration done': {
    now: (scene) => {
      const { iterations } = scene.plan.gang;
      return scene.measured() === iterations && scene.tracked() < iterations ? iterations : undefined;
    },
    keepers: ranks,
  },
  'publish half done': {
    now: (scene) => (scene.working('publish', 'published') === undefined ? undefined : 0),
    keepers: (scene) => {
      const working = scene.working('publish', 'published');
      return working === undefined ? [] : [working.command, scene.cluster.pidOf(working.host)];
    },
  },
};

/**
 * The kill table as data: who is killed at which moment, and what must come of it. `npm test` plays the rows that are marked,
 * `npm run show:survives` all of them; `play.ts` plays a row.
 */

/** Iterations of a row's training, and between two of its saves. */
export const ITERATIONS = 40;
export const EVERY = 10;
/** A training that outlasts an outage of half a minute. */
export const LONG_ITERATIONS = 400;

export type Moment =
  /** Iteration 17 is reached, between two saves. */
  | 'iteration reached'
  /** The first file of a save is on its host, the tracker has not moved. */
  | 'save begun'
  /** The tracker has moved, the node's manifest is not in the store. */
  | 'saved, not shipped'
  /** Some of the node's files are in the store, its manifest is not. */
  | 'part sent'
  /** All nodes' manifests are in the store, the run's log has no commit. */
  | 'shipped, not committed'
  /** The last iteration is measured, its save is not complete. */
  | 'last iteration done'
  /** The published model lies in part in the work folder of the stage, whose command runs. */
  | 'publish half done';

/** Processes of one node; `rank` is the process that trains, `launcher` is torchrun, `command` is that of a stage. */
export type NodeVictim = 'rank' | 'launcher' | 'supervisor' | 'agent';
export type Victim = NodeVictim | 'command' | 'control worker' | 'server' | 's3 server' | 'anneal dev';

export type Recovery =
  /** Nobody scheduled the work again: the same attempt goes on. */
  | 'unnoticed'
  /** The same trainers go on, observed by another attempt in the same generation. */
  | 'adopted'
  /** A new generation on the same hosts goes on from a commit. */
  | 'new generation'
  /** The stage is run again; no training is. */
  | 'stage retried';

export interface Row {
  readonly victim: Victim;
  readonly moment: Moment;
  /** Of a node's victim. On node 0 are the vision tower and the tracker, on node 1 the language model and the metrics. */
  readonly node?: 0 | 1;
  /** How long the killed server stays down. */
  readonly downSeconds?: number;
  readonly recovery: Recovery;
  /**
   * Where a race decides: after an outage the server hears a heartbeat first, or fires the time-out; a store is back before a transfer gives
   * up, or the stage is tried again.
   */
  readonly or?: Recovery;
  /** Of a new generation: from the very save of the moment, or from the one before. */
  readonly from?: 'this save' | 'the save before';
  /** Of a new generation: what the run's incident names as the root. */
  readonly failure?: 'TrainerFailed' | 'SupervisorLost';
  readonly iterations?: number;
  /** Played by `npm test` too. */
  readonly always?: true;
}

const died = { recovery: 'new generation', failure: 'TrainerFailed' } as const;
const lost = { recovery: 'new generation', failure: 'SupervisorLost' } as const;
const long = { iterations: LONG_ITERATIONS } as const;
const outage = { victim: 'server', downSeconds: 30, ...long, recovery: 'adopted', or: 'unnoticed' } as const;

export const ROWS: readonly Row[] = [
  { victim: 'rank', node: 1, moment: 'iteration reached', ...died, from: 'the save before' },
  { victim: 'rank', node: 0, moment: 'iteration reached', ...died, from: 'the save before' },
  { victim: 'launcher', node: 1, moment: 'iteration reached', ...died, from: 'the save before' },
  { victim: 'supervisor', node: 0, moment: 'iteration reached', ...lost, from: 'the save before', always: true },
  { victim: 'agent', node: 1, moment: 'iteration reached', recovery: 'adopted' },
  { victim: 'control worker', moment: 'iteration reached', recovery: 'unnoticed' },
  { victim: 'server', downSeconds: 3, moment: 'iteration reached', recovery: 'unnoticed' },
  { moment: 'iteration reached', ...outage },
  { victim: 'anneal dev', moment: 'iteration reached', ...long, recovery: 'adopted' },

  { victim: 'rank', node: 1, moment: 'save begun', ...died, from: 'the save before' },
  { victim: 'rank', node: 0, moment: 'save begun', ...died, from: 'the save before' },
  { victim: 'supervisor', node: 1, moment: 'save begun', ...lost, from: 'the save before' },
  { victim: 'agent', node: 0, moment: 'save begun', recovery: 'adopted' },
  { victim: 'control worker', moment: 'save begun', recovery: 'unnoticed' },

  { victim: 'rank', node: 1, moment: 'saved, not shipped', ...died, from: 'this save', always: true },
  { victim: 'launcher', node: 0, moment: 'saved, not shipped', ...died, from: 'this save' },
  { victim: 'supervisor', node: 0, moment: 'saved, not shipped', ...lost, from: 'this save' },
  { victim: 'agent', node: 0, moment: 'saved, not shipped', recovery: 'adopted' },
  { victim: 'control worker', moment: 'saved, not shipped', recovery: 'unnoticed' },

  { victim: 'rank', node: 1, moment: 'part sent', ...died, from: 'this save' },
  { victim: 'supervisor', node: 1, moment: 'part sent', ...lost, from: 'this save' },
  { victim: 'agent', node: 1, moment: 'part sent', recovery: 'adopted', always: true },
  { victim: 'control worker', moment: 'part sent', recovery: 'unnoticed' },
  { victim: 'server', downSeconds: 3, moment: 'part sent', recovery: 'unnoticed' },

  { victim: 'rank', node: 0, moment: 'shipped, not committed', ...died, from: 'this save' },
  { victim: 'agent', node: 0, moment: 'shipped, not committed', recovery: 'adopted' },
  { victim: 'control worker', moment: 'shipped, not committed', recovery: 'unnoticed', always: true },
  { moment: 'shipped, not committed', ...outage },
  { victim: 'anneal dev', moment: 'shipped, not committed', ...long, recovery: 'adopted' },

  { victim: 'rank', node: 1, moment: 'last iteration done', ...died, from: 'the save before' },
  { victim: 'launcher', node: 0, moment: 'last iteration done', ...died, from: 'the save before' },
  { victim: 'supervisor', node: 0, moment: 'last iteration done', ...lost, from: 'the save before' },
  { victim: 'agent', node: 1, moment: 'last iteration done', recovery: 'adopted' },
  { victim: 'control worker', moment: 'last iteration done', recovery: 'unnoticed' },

  { victim: 'command', moment: 'publish half done', recovery: 'stage retried' },
  { victim: 'agent', moment: 'publish half done', recovery: 'stage retried' },
  { victim: 'control worker', moment: 'publish half done', recovery: 'unnoticed' },
  { victim: 'server', downSeconds: 3, moment: 'publish half done', recovery: 'unnoticed' },
  { victim: 'anneal dev', moment: 'publish half done', recovery: 'stage retried' },

  { victim: 's3 server', moment: 'save begun', recovery: 'unnoticed' },
  { victim: 's3 server', node: 0, moment: 'saved, not shipped', recovery: 'unnoticed' },
  { victim: 's3 server', node: 1, moment: 'part sent', recovery: 'unnoticed' },
  { victim: 's3 server', moment: 'shipped, not committed', recovery: 'unnoticed' },
  { victim: 's3 server', moment: 'last iteration done', recovery: 'unnoticed' },
  { victim: 's3 server', moment: 'publish half done', recovery: 'unnoticed', or: 'stage retried' },
];

/** Where a row's run is stored: only who kills the S3 server needs one. */
export const storeOf = ({ victim }: Row): 's3' | undefined => (victim === 's3 server' ? 's3' : undefined);

export function nameOf({ victim, node, downSeconds, moment }: Row): string {
  const who = downSeconds === undefined ? victim : `${victim} (down ${String(downSeconds)} s)`;
  return `${who}${node === undefined ? '' : ` of node ${String(node)}`} @ ${moment}`;
}

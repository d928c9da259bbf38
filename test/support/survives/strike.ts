/** Waits for a row's moment, holds it by SIGSTOP to who would end it, looks again, and kills: what is over is never taken for it. */
import { readFileSync } from 'node:fs';
import { setImmediate as giveWay } from 'node:timers/promises';
import { monotonicSeconds, pause } from '../../../src/process/wait.js';
import { SIGHTS, type Sight } from './moments.js';
import { identify, type Identity, type Scene } from './scene.js';
import type { Row } from './table.js';

/** The shortest pause of a timer: the narrowest moments last some milliseconds. */
const LOOK_MS = 1;
const STEP_SECONDS = 0.001;
/** A process that does not stop for so long hangs in the kernel. */
const FREEZE_LIMIT_SECONDS = 2;

export interface Strike {
  /** The save or the iteration at which it was. */
  readonly at: number;
  /** The last iteration that was measured before. */
  readonly reached: number;
  /** Monotonic seconds. */
  readonly killedAt: number;
}

/** Undefined when the run went by without the moment being caught. */
export async function strike(
  scene: Scene,
  row: Row,
  isOver: () => boolean,
  aftermath: (victim: Identity) => Promise<void>,
): Promise<Strike | undefined> {
  return atMoment({ scene, sight: SIGHTS[row.moment], node: row.node ?? 0, isOver }, async (at) => {
    const [victim] = living(victimOf(scene, row));
    if (victim === undefined) return undefined;
    const reached = scene.measured();
    process.kill(victim.pid, 'SIGKILL');
    const killedAt = monotonicSeconds();
    await aftermath(victim);
    return { at, reached, killedAt };
  });
}

export interface Awaited {
  readonly scene: Scene;
  readonly sight: Sight;
  readonly node: number;
  readonly isOver: () => boolean;
  /** Processes that somebody else has stopped, or that `act` stops: they stay so. */
  readonly stopped?: ReadonlySet<number>;
}

/**
 * Acts in the moment, and answers what `act` does; when that is undefined, it waits on. Undefined when all went by without the moment being
 * caught. Whoever would end the moment stands still until `act` is over, so that what a kill takes down with it cannot get its
 * work done in the milliseconds that this needs.
 */
export async function atMoment<Result>(
  { scene, sight, node, isOver, stopped = new Set() }: Awaited,
  act: (at: number) => Promise<Result | undefined>,
): Promise<Result | undefined> {
  const { now, keepers, near = isNow } = sight;
  while (!isOver()) {
    if (near(scene, node)) {
      const held = keepers(scene)
        .filter((pid) => !stopped.has(pid))
        .flatMap(living);
      try {
        freeze(held);
        while (near(scene, node) && !isOver()) {
          const at = now(scene, node);
          const acted = at === undefined ? undefined : await act(at);
          if (acted !== undefined) return acted;
          await giveWay();
          step(held);
        }
      } finally {
        thaw(held.filter(({ pid }) => !stopped.has(pid)));
      }
    }
    await pause(LOOK_MS);
  }
  return undefined;

  function isNow(): boolean {
    return now(scene, node) !== undefined;
  }
}

function victimOf(scene: Scene, { victim, node = 0 }: Row): number {
  const { cluster } = scene;
  switch (victim) {
    case 'rank':
    case 'launcher':
    case 'supervisor':
      return scene.trainer(node)[victim];
    case 'agent':
      return cluster.pidOf(scene.working('publish', 'published')?.host ?? scene.trainer(node).host);
    case 'command':
      return scene.working('publish', 'published')?.command ?? 0;
    case 'control worker':
      return cluster.pidOf('worker');
    case 'server':
      return cluster.pidOf('temporal');
    case 's3 server':
      return cluster.pidOf('s3');
    case 'anneal dev':
      return cluster.pidOf('dev');
  }
}

/** SIGSTOP takes effect when the kernel gets to it: so it is waited for, without giving way to anything else. */
function freeze(processes: readonly Identity[]): void {
  for (const { pid } of processes) signal(pid, 'SIGSTOP');
  const deadline = monotonicSeconds() + FREEZE_LIMIT_SECONDS;
  while (processes.some(({ pid }) => runs(pid)))
    if (monotonicSeconds() > deadline) throw new Error('A process did not stop at SIGSTOP.');
}

function thaw(processes: readonly Identity[]): void {
  for (const { pid } of processes) signal(pid, 'SIGCONT');
}

/** Lets them go on for a moment: an act of theirs that takes some milliseconds is seen half done. */
function step(processes: readonly Identity[]): void {
  thaw(processes);
  const until = monotonicSeconds() + STEP_SECONDS;
  while (monotonicSeconds() < until);
  freeze(processes);
}

/** Neither stopped nor gone. */
function runs(pid: number): boolean {
  try {
    const text = readFileSync(`/proc/${String(pid)}/stat`, 'utf8');
    return !/[TtZX]/.test(text.charAt(text.lastIndexOf(')') + 2));
  } catch {
    return false;
  }
}

export function living(pid: number): readonly Identity[] {
  try {
    return [identify(pid)];
  } catch {
    return [];
  }
}

export function signal(pid: number, name: 'SIGSTOP' | 'SIGCONT' | 'SIGKILL'): void {
  try {
    process.kill(pid, name);
  } catch {
    // Gone in between.
  }
}

/** Waits for a row's moment, holds it, looks again, and kills: a moment that is over is never taken for it. */
import { readFileSync } from 'node:fs';
import { monotonicSeconds, pause } from '../../../src/process/wait.js';
import { SIGHTS } from './moments.js';
import { identify, type Identity, type Scene } from './scene.js';
import type { Row } from './table.js';

/** The shortest pause of a timer: the narrowest moments last some milliseconds. */
const LOOK_MS = 1;
/** A process that does not stop for so long hangs in the kernel. */
const FREEZE_LIMIT_SECONDS = 2;

export interface Strike {
  readonly victim: Identity;
  /** The save or the iteration at which it was. */
  readonly at: number;
  /** The last iteration that was measured before. */
  readonly reached: number;
  /** Monotonic seconds. */
  readonly killedAt: number;
}

/** Undefined when the run went by without the moment being caught. */
export async function strike(scene: Scene, row: Row, isOver: () => boolean): Promise<Strike | undefined> {
  const { now, keepers } = SIGHTS[row.moment];
  const node = row.node ?? 0;
  while (!isOver()) {
    if (now(scene, node) !== undefined) {
      const held = keepers(scene).flatMap(living);
      try {
        const [victim] = living(victimOf(scene, row));
        freeze(held);
        const at = now(scene, node);
        if (victim !== undefined && at !== undefined) {
          const reached = scene.measured(1);
          process.kill(victim.pid, 'SIGKILL');
          return { victim, at, reached, killedAt: monotonicSeconds() };
        }
      } finally {
        for (const { pid } of held) signal(pid, 'SIGCONT');
      }
    }
    await pause(LOOK_MS);
  }
  return undefined;
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
    case 'anneal dev':
      return cluster.devPid;
  }
}

/** SIGSTOP takes effect when the kernel gets to it: so it is waited for, without giving way to anything else. */
function freeze(processes: readonly Identity[]): void {
  for (const { pid } of processes) signal(pid, 'SIGSTOP');
  const deadline = monotonicSeconds() + FREEZE_LIMIT_SECONDS;
  while (processes.some(({ pid }) => runs(pid)))
    if (monotonicSeconds() > deadline) throw new Error('A process did not stop at SIGSTOP.');
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

function living(pid: number): readonly Identity[] {
  try {
    return [identify(pid)];
  } catch {
    return [];
  }
}

function signal(pid: number, name: 'SIGSTOP' | 'SIGCONT'): void {
  try {
    process.kill(pid, name);
  } catch {
    // Gone in between.
  }
}

/**
 * An agent's look at its own host, for gangs that are about to be launched there, for the pool, and for the evidence of what broke there. Whoever
 * asks while one is under way shares it.
 */
import type { HostHealth } from '../../plan/hosts.js';
import type { HostCheck, HostFinding } from '../../plan/preflight.js';
import { noteErrors } from '../../preflight/error-history.js';
import type { HostReadings } from '../../preflight/host-readings.js';
import { judge, verdictOf, type Judgement } from '../../preflight/judge.js';
import { type HostPlaces, probeHost } from '../../preflight/probe-host.js';
import { readLockHolder } from '../../process/host-lock.js';
import { findTrainer } from '../../process/supervisor.js';
import { monotonicSeconds, pause } from '../../process/wait.js';
import { hostCheck } from './host-check.js';
import { ServerClock } from './server-clock.js';
import { hostLockFile } from './work-folders.js';

/** What a training needs on the disk is the plan's to know; a host is unfit whose disk is as good as full. */
const FULL_DISK_BYTES = 100e6;
/** What was just ended is off the chips within seconds, and a store may just be restarting: this long a host is looked at again. */
const PASSES_SECONDS = 20;
const PASSING: readonly string[] = ['processes', 'hbm', 'store'];
const LOOK_AGAIN_MS = 2_000;
/** A look at sixteen NPUs is a hundred calls of the vendor's tools. */
const LOOK_EVERY_MS = 15 * 60_000;
/** More would swell the pool, and help nobody. */
const SENTENCES_KEPT = 3;

export class HostDoctor {
  readonly #places: HostPlaces;
  #looking: Promise<HostCheck> | undefined;
  #probing: Promise<HostReadings> | undefined;
  #health: HostHealth | undefined;
  #versions: HostCheck['versions'] = {};
  readonly #serverClock = new ServerClock();

  constructor(places: HostPlaces) {
    this.#places = { ...places, leastDiskBytes: FULL_DISK_BYTES };
  }

  /** What the last look has found; undefined before the first. */
  get health(): HostHealth | undefined {
    return this.#health;
  }

  /** What a training on this host runs on, by the last look; empty before the first. */
  get versions(): HostCheck['versions'] {
    return this.#versions;
  }

  /** What the host is like at this moment, whole and whether or not it passes. */
  async lookOnce(): Promise<Judgement> {
    return judge(await this.#probe());
  }

  /** Two at once would call the vendor's tools twice at once. */
  #probe(): Promise<HostReadings> {
    this.#probing ??= probeHost(this.#places)
      .then((readings) => ({ ...readings, clockAheadMs: this.#serverClock.aheadMs() }))
      .finally(() => {
        this.#probing = undefined;
      });
    return this.#probing;
  }

  /** `scheduledAt` is when Temporal's server, by its own clock, has asked for it. */
  look(scheduledAt?: number): Promise<HostCheck> {
    if (scheduledAt !== undefined) this.#serverClock.heard(scheduledAt);
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #look(): Promise<HostCheck> {
    const deadline = monotonicSeconds() + PASSES_SECONDS;
    for (;;) {
      const readings = await this.#probe();
      const judgement = judge(readings);
      if (mayPass(judgement) && monotonicSeconds() < deadline) {
        await pause(LOOK_AGAIN_MS);
        continue;
      }
      const check = hostCheck(readings, judgement);
      this.#note(judgement.isFit, check.findings);
      this.#versions = check.versions;
      // A look is none the worse for a disk that takes no note of it.
      await noteErrors(this.#places.workRoot, readings.ascend?.chips ?? [], Date.now()).catch(() => undefined);
      return check;
    }
  }

  #note(isFit: boolean, found: readonly HostFinding[]): void {
    const findings = found.slice(0, SENTENCES_KEPT).map(({ sentence }) => sentence);
    const before = this.#health;
    const isSame = before?.isFit === isFit && before.findings.join() === findings.join();
    if (!isSame) this.#health = { since: Date.now(), isFit, findings };
  }
}

/** Looks at an agent's start, and now and then while nothing trains; until the signal is aborted. */
export async function lookNowAndThen(workRoot: string, doctor: HostDoctor, signal: AbortSignal): Promise<void> {
  try {
    for (;;) {
      // Whoever trains there has looked before, and a trainer is on the chips of right.
      if (!(await isTraining(workRoot))) await doctor.look().catch(() => undefined);
      await pause(LOOK_EVERY_MS, signal);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** Without touching the lock, which a supervisor may be about to take. */
async function isTraining(workRoot: string): Promise<boolean> {
  const holder = await readLockHolder(hostLockFile(workRoot));
  return holder !== undefined && (await findTrainer(holder.directory)).state === 'running';
}

/** Only what passes by itself is in its way. */
function mayPass({ isFit, checks }: Judgement): boolean {
  const refusing = checks.filter((one) => verdictOf(one) === 'refuse');
  return !isFit && refusing.every(({ check }) => PASSING.includes(check));
}

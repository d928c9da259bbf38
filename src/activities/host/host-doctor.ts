/**
 * An agent's look at its own host, for gangs that are about to be launched there, for the pool, and for the evidence of what broke there. Whoever
 * asks while one is under way shares it.
 */
import type { HostHealth } from '../../plan/hosts.js';
import { CHIP_KIND, type HostCheck, type HostFinding } from '../../plan/preflight.js';
import type { AscendReadings, HostReadings } from '../../preflight/host-readings.js';
import { judge, verdictOf, type Judgement } from '../../preflight/judge.js';
import { type HostPlaces, probeHost } from '../../preflight/probe-host.js';
import { valueOf } from '../../preflight/reading.js';
import { readLockHolder } from '../../process/host-lock.js';
import { findTrainer } from '../../process/supervisor.js';
import { monotonicSeconds, pause } from '../../process/wait.js';
import { hostLockFile } from './work-folders.js';

/** What a training needs on the disk is the plan's to know; a host is unfit whose disk is as good as full. */
const FULL_DISK_BYTES = 100e6;
/** What was just ended is off the chips within seconds, and a store may just be restarting: this long a host is looked at again. */
const PASSES_SECONDS = 20;
const PASSING: readonly string[] = ['processes', 'hbm', 'store'];
const LOOK_AGAIN_MS = 2_000;
/** A look at sixteen NPUs is a hundred calls of the vendor's tools. */
const LOOK_EVERY_MS = 15 * 60_000;
/** More would swell histories and the pool, and help nobody. */
const FINDINGS_KEPT = 8;
const SENTENCES_KEPT = 3;
const SENTENCE_LENGTH = 240;

export class HostDoctor {
  readonly #places: HostPlaces;
  #looking: Promise<HostCheck> | undefined;
  #probing: Promise<HostReadings> | undefined;
  #health: HostHealth | undefined;

  constructor(places: HostPlaces) {
    this.#places = { ...places, leastDiskBytes: FULL_DISK_BYTES };
  }

  /** What the last look has found; undefined before the first. */
  get health(): HostHealth | undefined {
    return this.#health;
  }

  /** What the host is like at this moment, whole and whether or not it passes. */
  async lookOnce(): Promise<Judgement> {
    return judge(await this.#probe());
  }

  /** Two at once would call the vendor's tools twice at once. */
  #probe(): Promise<HostReadings> {
    this.#probing ??= probeHost(this.#places).finally(() => {
      this.#probing = undefined;
    });
    return this.#probing;
  }

  look(): Promise<HostCheck> {
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
      const findings = findingsOf(judgement);
      this.#note(judgement.isFit, findings);
      return { findings: findings.slice(0, FINDINGS_KEPT), versions: versionsOf(readings) };
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

/** What refuses the host first. */
function findingsOf({ checks }: Judgement): readonly HostFinding[] {
  const all = checks.flatMap(({ check, findings }) =>
    findings.map(({ severity, sentence, rule, remedy }) => ({
      ...{ check, severity, remedy: cut(remedy) },
      sentence: cut(`${sentence} It ${rule}.`),
    })),
  );
  return all.toSorted((a, b) => Number(b.severity === 'refuse') - Number(a.severity === 'refuse'));
}

function cut(text: string): string {
  return text.length <= SENTENCE_LENGTH ? text : `${text.slice(0, SENTENCE_LENGTH - 1)}…`;
}

/** Of what must be the same on all hosts of a gang; what could not be read is a finding, or of no matter. */
function versionsOf({ python, ascend }: HostReadings): Readonly<Record<string, string>> {
  const packages = python === undefined ? undefined : valueOf(python)?.packages;
  const found = {
    torch: packages?.['torch'] ?? undefined,
    ...(ascend === undefined ? {} : npuVersions(ascend, packages?.['torch-npu'] ?? undefined)),
  };
  return Object.fromEntries(Object.entries(found).filter((entry): entry is [string, string] => entry[1] !== undefined));
}

function npuVersions(
  { chips, versions }: AscendReadings,
  torchNpu: string | undefined,
): Record<string, string | undefined> {
  const ofAll = (show: (chip: AscendReadings['chips'][number]) => string | undefined): string | undefined => {
    const shown = new Set(chips.map(show));
    // Chips of one host that differ are a finding against that host.
    return shown.size === 1 ? [...shown][0] : undefined;
  };
  return {
    'torch-npu': torchNpu,
    driver: valueOf(versions.driver),
    firmware: valueOf(versions.firmware),
    CANN: valueOf(versions.cann),
    Megatron: versions.trainer === undefined ? undefined : valueOf(versions.trainer.megatron),
    [CHIP_KIND]: ofAll(({ chip }) => chip.name),
    'The TLS switch': ofAll(({ tls }) => ('value' in tls ? (tls.value ? 'on' : 'off') : undefined)),
  };
}

/** What a gang hears of a look at a host: what speaks against it, shortened, and what must be the same on all its hosts. Pure. */
import { CHIP_KIND, ERROR_CORRECTION, type HostCheck, type HostFinding } from '../../plan/preflight.js';
import type { AscendReadings, HostReadings, PythonReadings } from '../../preflight/host-readings.js';
import type { Judgement } from '../../preflight/judge.js';
import { valueOf } from '../../preflight/reading.js';

/** More would swell histories, and help nobody. */
const FINDINGS_KEPT = 8;
const SENTENCE_LENGTH = 240;

export function hostCheck(readings: HostReadings, judgement: Judgement): HostCheck {
  return { findings: findingsOf(judgement).slice(0, FINDINGS_KEPT), versions: versionsOf(readings) };
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
    ...(ascend === undefined ? {} : npuVersions(ascend, packages ?? {})),
  };
  return Object.fromEntries(Object.entries(found).filter((entry): entry is [string, string] => entry[1] !== undefined));
}

function npuVersions(
  { chips, versions }: AscendReadings,
  packages: PythonReadings['packages'],
): Record<string, string | undefined> {
  const ofAll = (show: (chip: AscendReadings['chips'][number]) => string | undefined): string | undefined => {
    const shown = new Set(chips.map(show));
    // Chips of one host that differ are a finding against that host.
    return shown.size === 1 ? [...shown][0] : undefined;
  };
  return {
    'torch-npu': packages['torch-npu'] ?? undefined,
    MindSpeed: packages['mindspeed'] ?? undefined,
    driver: valueOf(versions.driver),
    firmware: valueOf(versions.firmware),
    CANN: valueOf(versions.cann),
    Megatron: versions.trainer === undefined ? undefined : valueOf(versions.trainer.megatron),
    [CHIP_KIND]: ofAll(({ chip }) => chip.name),
    [ERROR_CORRECTION]: ofAll(({ fec }) => valueOf(fec)),
    'The TLS switch': ofAll(({ tls }) => ('value' in tls ? (tls.value ? 'on' : 'off') : undefined)),
  };
}

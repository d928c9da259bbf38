/** What speaks against the chips of a host: driver, health, memory, who is on them. Pure: readings in, findings out. */
import {
  type CheckResult,
  chipFindings,
  chipNames,
  finding,
  judgeChips,
  shown,
  tally,
  unreadFinding,
} from './finding.js';
import type { AscendReadings, ChipReadings, IdleBaseline } from './host-readings.js';
import type { Health } from './npu-smi-table.js';

type Expected = number | undefined;
type NpuCheck = (npus: AscendReadings, expected: Expected) => CheckResult;

/** HBM of an idle chip moves by less; a process that is left holds more. */
export const IDLE_TOLERANCE_MB = 1024;
/** A board of 64 GB keeps three to four GB for itself. */
export const IDLE_RESERVE_MB = 4096;
const BOARD_64_MB = 65_536;

/** Without it nothing else of the chips can be said. */
export const driverCheck: NpuCheck = ({ table, known }) => {
  const remedy =
    'Look at "dmesg" and at who holds the chips ("fuser -v /dev/davinci*"); in a container see that the devices and the driver are mounted. Else reload the driver or restart the machine.';
  const state = 'value' in table ? `npu-smi ${table.value.version}` : 'no table of chips';
  const findings =
    'value' in table
      ? []
      : [
          finding('refuse', {
            sentence: `The driver does not tell of its chips (${table.unread}).`,
            ...{ value: 'unknown', rule: 'must answer "npu-smi info" with code 0 and in a form that is known', remedy },
          }),
        ];
  const map =
    'unread' in known && 'value' in table ? [unreadFinding('warn', 'The list of chips', known.unread, remedy)] : [];
  return { check: 'driver', state, findings: [...findings, ...map] };
};

const chipsCheck: NpuCheck = ({ chips, known }, expected) => {
  const mapped = 'value' in known ? known.value : [];
  const unusable = mapped.filter(({ npu }) => npu < 0).length;
  const remedy =
    'Compare with "lspci | grep acce": gone there too, the PCIe link is lost, so power the machine off and on or have it repaired; still there, reset the chips.';
  const findings = [];
  const wanted = Math.max(expected ?? 0, mapped.length);
  if (chips.length < wanted)
    findings.push(
      finding('refuse', {
        sentence: `Chips are missing: npu-smi shows ${String(chips.length)} of ${String(wanted)}.`,
        value: String(chips.length),
        rule: `must be ${String(wanted)}, as ${expected === wanted ? 'the agent\'s "npus" says' : 'the driver lists'}`,
        remedy,
      }),
    );
  if (expected !== undefined && chips.length > expected)
    findings.push(
      finding('warn', {
        sentence: `The host has ${String(chips.length)} chips, of which the agent offers ${String(expected)}.`,
        value: String(chips.length),
        rule: `should be ${String(expected)}, as the agent's "npus" says`,
        remedy: 'Set "npus" in the agent\'s settings to the number of chips; on an A3 each die counts.',
      }),
    );
  if (unusable > 0)
    findings.push(
      finding('refuse', {
        sentence: `The driver lists ${String(unusable)} NPU${unusable === 1 ? '' : 's'} as unusable.`,
        ...{ value: 'NPU ID -1', rule: 'must be 0 or more', remedy },
      }),
    );
  return { check: 'chips', state: `${String(chips.length)} x ${tally(chips.map(({ chip }) => chip.name))}`, findings };
};

const MEANING: Readonly<Record<Health, string>> = {
  OK: 'no alarm',
  Warning: 'a minor alarm',
  Alarm: 'a major alarm',
  Critical: 'an emergency',
  UNKNOWN: 'absent, or not started',
};

const healthCheck: NpuCheck = ({ chips }) => ({
  check: 'health',
  state: tally(chips.map(({ chip }) => chip.health)),
  findings: chipFindings(chips, ({ chip: { health }, detail }) => {
    if (health === 'OK') return undefined;
    const codes = detail !== undefined && 'value' in detail ? detail.value.errorCodes : [];
    const why = codes.length === 0 ? '' : `, error code ${codes.join(', ')}`;
    return {
      severity: health === 'Warning' ? 'warn' : 'refuse',
      sentence: (ids) => `The health of ${ids} is ${health} (${MEANING[health]}${why}).`,
      value: health + why,
      rule: 'must be OK',
      remedy:
        'Look the error code up in the manual of health management faults; it says whether a reset helps. On an A2 a reset of one chip resets all eight.',
    };
  }),
});

/** Error 80E01801 twice within a day sets a chip apart until a person clears it (Ascend/mind-cluster, faultCustomization.json). */
const ERRORS_OF_DAY = 2;
/** As error 80E18402 has it, at which the vendor has the NPU replaced at once (Ascend/mind-cluster, ascend_fd_tk; SeparateNPU in faultCode.json). */
const ISOLATED_PAGES = 64;

const eccCheck: NpuCheck = ({ chips }) => ({
  check: 'ecc',
  state: `${tally(chips.map(({ errors }) => shown(errors, ({ doubleBit }) => String(doubleBit))))} double bit errors`,
  findings: judgeChips(
    chips,
    { name: 'The errors of HBM', unread: 'warn', remedy: 'Ask by hand: npu-smi info -t ecc -i NPU -c CHIP.' },
    ({ errors }) => errors,
    ({ doubleBit, isolatedPages }, { errorsOfDay = 0 }) => {
      if (isolatedPages !== null && isolatedPages >= ISOLATED_PAGES)
        return {
          severity: 'refuse',
          sentence: (ids) => `The HBM of ${ids} has ${String(isolatedPages)} pages that are out of use for errors.`,
          ...{ value: String(isolatedPages), rule: `must be less than ${String(ISOLATED_PAGES)}` },
          remedy: 'Have the board replaced: there is no room to isolate more (error 80E18402).',
        };
      if (doubleBit === 0) return undefined;
      const isOften = errorsOfDay >= ERRORS_OF_DAY;
      return {
        severity: isOften ? 'refuse' : 'warn',
        sentence: (ids) =>
          `The HBM of ${ids} had ${String(doubleBit)} errors that could not be corrected${isOften ? `, ${String(errorsOfDay)} of them within the last day` : ''}.`,
        value: String(doubleBit),
        rule: `must be less than ${String(ERRORS_OF_DAY)} within a day, and should be 0`,
        remedy: 'Two of them within a day on one chip: have the board replaced.',
      };
    },
  ),
});

const processesCheck: NpuCheck = ({ processes, chips }) => {
  const check = 'processes';
  if ('unread' in processes)
    return {
      ...{ check, state: 'unknown' },
      findings: [
        unreadFinding(
          processes.isLate === true ? 'warn' : 'refuse',
          'Who is on the chips',
          processes.unread,
          'Ask as root: fuser -v /dev/davinci*.',
        ),
      ],
    };
  const found = processes.value;
  return {
    check,
    state: found.length === 0 ? 'none' : String(found.length),
    findings: found.map(({ npu, chip, pid, name, memoryMb }) => {
      const id = chips.find((one) => one.chip.npu === npu && one.chip.chip === (chip ?? 0))?.chip.physicalId;
      const who = `${String(pid)} (${name === '' ? 'without name' : name})`;
      return finding('refuse', {
        sentence: `Process ${who} is on ${chipNames([id ?? npu])} with ${String(memoryMb)} MB.`,
        value: who,
        rule: 'must be no process on a chip before a training starts',
        remedy: `See whose it is (ps -fp ${String(pid)}; "anneal hosts" shows a trainer of ours), and end it if it is left over. It is not ours to end.`,
      });
    }),
  };
};

const hbmCheck: NpuCheck = ({ chips, processes, baseline, versions }) => {
  const driver = 'value' in versions.driver ? versions.driver.value : undefined;
  const recorded = baseline !== undefined && 'value' in baseline ? baseline.value : undefined;
  const known = recorded?.driver === driver ? recorded : undefined;
  const onChips = 'value' in processes ? processes.value : [];
  const isBusy = ({ chip: { npu, chip } }: ChipReadings): boolean =>
    onChips.some((one) => one.npu === npu && (one.chip ?? chip) === chip);
  const used = chips.map(({ chip }) => chip.hbmUsedMb);
  const state = `${rangeOf(used)} of ${tally(chips.map(({ chip }) => String(chip.hbmTotalMb)))} MB used`;
  // What a process holds is told of as the process.
  const idle = chips.filter((one) => !isBusy(one));
  const kept = chipFindings(idle, (chip) => keptMemory(chip, known));
  const withoutBaseline = idle.some(({ chip }) => known?.usedMb[chip.busId] === undefined);
  return { check: 'hbm', state, findings: withoutBaseline ? [...kept, noBaseline(baseline, recorded)] : kept };
};

function rangeOf(numbers: readonly number[]): string {
  const [least, most] = [Math.min(...numbers), Math.max(...numbers)];
  return least === most ? String(least) : `${String(least)}-${String(most)}`;
}

function keptMemory(
  { chip }: ChipReadings,
  known: IdleBaseline | undefined,
): ReturnType<Parameters<typeof chipFindings>[1]> {
  const recorded = known?.usedMb[chip.busId];
  const idleMb = recorded ?? (chip.hbmTotalMb === BOARD_64_MB ? IDLE_RESERVE_MB : undefined);
  if (idleMb === undefined || chip.hbmUsedMb <= idleMb + IDLE_TOLERANCE_MB) return undefined;
  const against = recorded === undefined ? 'what a board of 64 GB keeps for itself' : 'its idle baseline';
  return {
    severity: 'refuse',
    sentence: (ids) => `HBM is held though no process is on it: ${ids}, ${String(chip.hbmUsedMb)} MB.`,
    value: `${String(chip.hbmUsedMb)} MB`,
    rule: `must be at most ${String(idleMb + IDLE_TOLERANCE_MB)} MB: ${against} and 1 GB`,
    remedy:
      'The driver frees it some seconds after a death: look again. If it stays, look for a process in another container ("fuser -v /dev/davinci*"), then reset the chips.',
  };
}

function noBaseline(
  baseline: AscendReadings['baseline'],
  recorded: IdleBaseline | undefined,
): ReturnType<typeof finding> {
  const remedy = 'While the host is idle: anneal doctor --config agent.yaml --record-idle';
  if (baseline !== undefined && 'unread' in baseline)
    return unreadFinding('warn', 'The idle baseline', baseline.unread, remedy);
  const why =
    recorded === undefined
      ? 'is recorded'
      : `is recorded for these chips and this driver (the one that is there was made with ${recorded.driver})`;
  return finding('warn', {
    sentence: `No idle baseline ${why}, so memory that is held is only seen by a rule of thumb.`,
    ...{ value: recorded === undefined ? 'none' : recorded.driver, rule: 'should be recorded on each host', remedy },
  });
}

/** Of chips that are there; the driver comes before them. */
export const CHIP_CHECKS: readonly NpuCheck[] = [chipsCheck, healthCheck, eccCheck, processesCheck, hbmCheck];

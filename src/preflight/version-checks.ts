/** What speaks against the software of an Ascend host: driver, firmware, CANN, and the trainer's release. */
import { type CheckResult, finding, type Finding, shown, unreadFinding } from './finding.js';
import type { AscendVersions } from './host-readings.js';
import type { Reading } from './reading.js';

type Check = (versions: AscendVersions) => CheckResult | undefined;

/** What MindSpeed MM 2.2.0 was released for. */
const RELEASE = 'MindSpeed MM 2.2.0';
const PINS = { driver: '25.3.RC1', cann: '8.3.RC1', megatron: '0.12.1' };

function versionCheck(
  check: string,
  read: Reading<string>,
  of: { readonly name: string; readonly remedy: string; readonly pin?: string },
): CheckResult {
  const findings: Finding[] = [];
  if ('unread' in read) findings.push(unreadFinding('refuse', `The version of ${of.name}`, read.unread, of.remedy));
  else if (of.pin !== undefined && read.value.toLowerCase() !== of.pin.toLowerCase())
    findings.push(
      finding('warn', {
        sentence: `${of.name} is ${read.value}, and ${RELEASE} was released for ${of.pin}.`,
        ...{ value: read.value, rule: `should be ${of.pin}, and must be the same on all hosts of a gang (EI0008)` },
        remedy: of.remedy,
      }),
    );
  return { check, state: shown(read, String), findings };
}

const driver: Check = (versions) =>
  versionCheck('driver version', versions.driver, {
    ...{ name: 'the driver', pin: PINS.driver },
    remedy: 'Install the HDK of that version; in a container mount /usr/local/Ascend/driver.',
  });

/** Its numbers are others than the driver's, and the release names none. */
const firmware: Check = (versions) =>
  versionCheck('firmware', versions.firmware, {
    name: 'the firmware',
    remedy: 'Install the firmware of the same HDK; in a container mount /usr/local/Ascend/firmware.',
  });

const cann: Check = (versions) =>
  versionCheck('cann', versions.cann, {
    ...{ name: 'CANN', pin: PINS.cann },
    remedy: 'Install the CANN toolkit and kernels of that version.',
  });

const trainer: Check = ({ trainer: found }) => {
  if (found === undefined) return undefined;
  const { missing, missingOfRelease, megatron } = found;
  const remedy =
    'Check out branch 2.2.0 of MindSpeed MM, copy "megatron" of Megatron-LM core_v0.12.1 into it, and set "trainerHome" to it.';
  const findings: Finding[] = [];
  if (missing.length > 0)
    findings.push(
      finding('refuse', {
        sentence: `The trainer's folder has no ${missing.join(', no ')}.`,
        ...{ value: missing.join(', '), rule: 'must hold what a training calls', remedy },
      }),
    );
  if (missingOfRelease.length > 0)
    findings.push(
      finding('warn', {
        sentence: `The trainer does not look like ${RELEASE}: it has no ${missingOfRelease.join(', no ')}.`,
        value: missingOfRelease.join(', '),
        rule: 'should be there: only that release has both InternVL3 and Dist-train',
        remedy,
      }),
    );
  // A folder that is not there has been told of.
  if ('unread' in megatron) {
    if (!missing.includes('megatron'))
      findings.push(unreadFinding('warn', 'The version of Megatron', megatron.unread, remedy));
  } else if (megatron.value !== PINS.megatron)
    findings.push(
      finding('refuse', {
        sentence: `Megatron is ${megatron.value}.`,
        ...{ value: megatron.value, rule: `must be ${PINS.megatron}, which MindSpeed patches line by line`, remedy },
      }),
    );
  return { check: 'trainer', state: findings.length === 0 ? RELEASE : 'not as released', findings };
};

export const VERSION_CHECKS: readonly Check[] = [driver, firmware, cann, trainer];

/** All checks of a host in one order, and whether it may train. Pure. */
import type { CheckResult, Severity } from './finding.js';
import { HOST_CHECKS } from './host-checks.js';
import type { HostReadings } from './host-readings.js';
import { NETWORK_CHECKS } from './network-checks.js';
import { CHIP_CHECKS, driverCheck } from './npu-checks.js';
import { VERSION_CHECKS } from './version-checks.js';

export interface Judgement {
  /** Nothing refuses it. */
  readonly isFit: boolean;
  readonly checks: readonly CheckResult[];
}

export function judge(host: HostReadings): Judgement {
  const { ascend } = host;
  const results: (CheckResult | undefined)[] = [];
  if (ascend !== undefined) {
    results.push(driverCheck(ascend, host.npus));
    // Without a table there is no chip of which anything could be said, well or not.
    if ('value' in ascend.table)
      results.push(
        ...CHIP_CHECKS.map((check) => check(ascend, host.npus)),
        ...NETWORK_CHECKS.map((check) => check(ascend)),
      );
    results.push(...VERSION_CHECKS.map((check) => check(ascend.versions)));
  }
  results.push(...HOST_CHECKS.map((check) => check(host)));
  const checks = results.filter((result) => result !== undefined);
  return { isFit: checks.every((one) => verdictOf(one) !== 'refuse'), checks };
}

/** The worst of a check's findings. */
export function verdictOf({ findings }: CheckResult): Severity | 'ok' {
  if (findings.some(({ severity }) => severity === 'refuse')) return 'refuse';
  return findings.length > 0 ? 'warn' : 'ok';
}

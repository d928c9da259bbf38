/** What speaks against the network ports of a host's chips, by which it reaches the other hosts of a gang. */
import { type CheckResult, finding, type Finding, judgeChips, shown, tally } from './finding.js';
import type { AscendReadings, ChipReadings } from './host-readings.js';
import type { Reading } from './reading.js';

type Check = (npus: AscendReadings) => CheckResult;

/** So many losses of a link within a day set its chip apart in the vendor's own scheduler. */
const FLAPPING = 5;

const byHand = (what: string): string => `Ask as root: hccn_tool -i CHIP ${what} -g.`;
const all = <T>(
  chips: readonly ChipReadings[],
  read: (chip: ChipReadings) => Reading<T>,
  show: (value: T) => string,
): string => tally(chips.map((chip) => shown(read(chip), show)));

const linkCheck: Check = ({ chips }) => ({
  check: 'link',
  state: all(chips, ({ link }) => link, String),
  findings: judgeChips(
    chips,
    { name: 'The link', unread: 'refuse', remedy: byHand('-link') },
    ({ link }) => link,
    (link, { light }) => {
      if (link === 'UP') return undefined;
      const isDark = light !== undefined && 'value' in light && !light.value;
      return {
        severity: 'refuse',
        sentence: (ids) => `The link of ${ids} is DOWN${isDark ? ', and no light comes in' : ''}.`,
        ...{ value: 'DOWN', rule: 'must be UP' },
        remedy: isDark
          ? 'Look at the cable, the module and the port of the switch.'
          : 'Look at "hccn_tool -i CHIP -optical -g" and at the port of the switch.',
      };
    },
  ),
});

const netHealthCheck: Check = ({ chips }) => ({
  check: 'net_health',
  state: all(chips, ({ netHealth }) => netHealth, String),
  findings: judgeChips(
    chips,
    { name: 'The health of the network', unread: 'refuse', remedy: byHand('-net_health') },
    ({ netHealth }) => netHealth,
    (state) =>
      state === 'Success' || state === 'Init'
        ? undefined
        : {
            severity: 'refuse',
            sentence: (ids) => `The network of ${ids} is not healthy: ${state}.`,
            ...{ value: state, rule: 'must be Success, or Init where no address to detect is set' },
            remedy:
              'Look at netdetect_N in /etc/hccn.conf, and ping that address: hccn_tool -i CHIP -ping -g address ADDRESS.',
          },
  ),
});

const addressCheck: Check = ({ chips }) => ({
  check: 'address',
  state: `${String(chips.filter(({ address }) => 'value' in address && address.value !== null).length)} of ${String(chips.length)} have one`,
  findings: judgeChips(
    chips,
    { name: 'The address', unread: 'warn', remedy: byHand('-ip') },
    ({ address }) => address,
    (address) =>
      address !== null
        ? undefined
        : {
            // A gang of one host needs none.
            severity: 'warn',
            sentence: (ids) => `The network port of ${ids} has no address, so a gang of several hosts cannot use it.`,
            ...{ value: 'none', rule: 'should be set on every chip' },
            remedy: 'Set address_N and netmask_N in /etc/hccn.conf: hccn_tool -i CHIP -ip -s address … netmask ….',
          },
  ),
});

/** Chips of a host that differ in what must be alike on a whole gang. */
function unlike<T>(
  chips: readonly ChipReadings[],
  read: (chip: ChipReadings) => Reading<T>,
  of: {
    readonly severity: Finding['severity'];
    readonly what: string;
    readonly remedy: string;
    show(value: T): string;
  },
): readonly Finding[] {
  const values = chips.flatMap((chip) => {
    const found = read(chip);
    return 'value' in found ? [of.show(found.value)] : [];
  });
  if (new Set(values).size < 2) return [];
  return [
    finding(of.severity, {
      sentence: `${of.what} is not the same on all chips: ${tally(values)}.`,
      ...{ value: tally(values), rule: 'must be the same on all chips of all hosts of a gang', remedy: of.remedy },
    }),
  ];
}

const showTls = (isOn: boolean): string => (isOn ? 'on' : 'off');

const tlsCheck: Check = ({ chips }) => ({
  check: 'tls',
  state: all(chips, ({ tls }) => tls, showTls),
  findings: [
    ...judgeChips(
      chips,
      { name: 'The TLS switch', unread: 'warn', remedy: byHand('-tls') },
      ({ tls }) => tls,
      () => undefined,
    ),
    ...unlike(chips, ({ tls }) => tls, {
      ...{ severity: 'refuse', what: 'The TLS switch', show: showTls },
      remedy:
        'Set it alike everywhere: hccn_tool -i CHIP -tls -s enable 0 (or 1). Ranks that differ wait for each other until EI0006.',
    }),
  ],
});

const fecCheck: Check = ({ chips }) => ({
  check: 'fec',
  state: all(chips, ({ fec }) => fec, String),
  findings: [
    ...judgeChips(
      chips,
      { name: 'The error correction', unread: 'warn', remedy: byHand('-fec') },
      ({ fec }) => fec,
      () => undefined,
    ),
    ...unlike(chips, ({ fec }) => fec, {
      ...{ severity: 'warn', what: 'The error correction of the ports', show: String },
      remedy: 'Set it as the ports of the switch have it.',
    }),
  ],
});

const lossesCheck: Check = ({ chips }) => ({
  check: 'link losses',
  state: `${all(chips, ({ lossesOfDay }) => lossesOfDay, String)} within a day`,
  findings: judgeChips(
    chips,
    { name: 'The history of the link', unread: 'warn', remedy: byHand('-link_stat') },
    ({ lossesOfDay }) => lossesOfDay,
    (count) =>
      count === 0
        ? undefined
        : {
            // The state at this moment says little of a link that comes and goes.
            severity: count >= FLAPPING ? 'refuse' : 'warn',
            sentence: (ids) =>
              `The link of ${ids} was lost ${count === 1 ? 'once' : `${String(count)} times`} within the last day.`,
            ...{ value: String(count), rule: `must be less than ${String(FLAPPING)}, and should be 0` },
            remedy: 'Look at the cable, the module and the port of the switch before the host trains with others.',
          },
  ),
});

export const NETWORK_CHECKS: readonly Check[] = [
  linkCheck,
  netHealthCheck,
  addressCheck,
  tlsCheck,
  fecCheck,
  lossesCheck,
];

/** What speaks against a host of any runtime: its Python, space, ports, clock, and the way to the store. */
import type { PortRange } from '../process/free-port.js';
import { type CheckResult, finding, type Finding, shown, unreadFinding } from './finding.js';
import type { HostReadings, PythonReadings } from './host-readings.js';
import { diskCheck, shmCheck } from './space-checks.js';

type Check = (host: HostReadings) => CheckResult | undefined;

/** By both runtimes, since our own tools run on both; on Ascend the adapter comes to them. */
export const PACKAGES = ['torch', 'numpy', 'pillow', 'tokenizers', 'safetensors'] as const;
export const ASCEND_PACKAGES = [...PACKAGES, 'torch-npu'] as const;
/** Its folder may also lie on PYTHONPATH, where it has no version. */
export const OPTIONAL_PACKAGES: readonly string[] = ['mindspeed'];
export const PROGRAMS = ['python', 'torchrun', 'mm-convert'] as const;
const TORCH_ON_ASCEND = ['2.6.0', '2.7.1'];

const pythonCheck: Check = ({ python, missingPrograms, runtime }) => {
  const remedy =
    'Install the runtime and set "runtimeBin" to the folder with its python; on a laptop "npm run setup" does.';
  if (python === undefined) return undefined;
  const findings: Finding[] = [];
  if (missingPrograms.length > 0)
    findings.push(
      finding('refuse', {
        sentence: `The runtime has no ${missingPrograms.join(', no ')}.`,
        ...{ value: missingPrograms.join(', '), rule: `must have ${PROGRAMS.join(', ')}`, remedy },
      }),
    );
  if ('unread' in python) findings.push(unreadFinding('refuse', "The runtime's Python", python.unread, remedy));
  else findings.push(...packageFindings(python.value, runtime, remedy));
  return {
    check: 'python',
    state: shown(python, ({ version, packages }) => `${version}, torch ${packages['torch'] ?? 'missing'}`),
    findings,
  };
};

function packageFindings(
  { packages, version }: PythonReadings,
  runtime: HostReadings['runtime'],
  remedy: string,
): readonly Finding[] {
  const findings: Finding[] = [];
  const needed = Object.keys(packages).filter((name) => !OPTIONAL_PACKAGES.includes(name));
  const missing = needed.filter((name) => packages[name] === null);
  if (missing.length > 0)
    findings.push(
      finding('refuse', {
        sentence: `The runtime's Python ${version} has no ${missing.join(', no ')}.`,
        ...{ value: missing.join(', '), rule: `must have ${needed.join(', ')}`, remedy },
      }),
    );
  const torch = packages['torch']?.split('+')[0];
  if (runtime === 'ascend' && torch !== undefined && !TORCH_ON_ASCEND.includes(torch))
    findings.push(
      finding('warn', {
        sentence: `torch is ${torch}, and MindSpeed MM 2.2.0 was released for ${TORCH_ON_ASCEND.join(' and ')}.`,
        ...{ value: torch, rule: `should be ${TORCH_ON_ASCEND.join(' or ')}`, remedy },
      }),
    );
  return findings;
}

/** HCCL's own on the host side, unless HCCL_IF_BASE_PORT says otherwise. */
const HCCL_PORTS: PortRange = { from: 60_000, to: 60_031 };

const portsCheck: Check = ({ ports, ascend }) => {
  const findings: Finding[] = [];
  if ('unread' in ports.rendezvous)
    findings.push(
      finding('refuse', {
        sentence: `No port is free for a rendezvous (${ports.rendezvous.unread}).`,
        ...{ value: 'none', rule: 'must be one', remedy: 'Find out who listens on so many: ss -ltnp.' },
      }),
    );
  if (ascend !== undefined) findings.push(...hcclFindings(ports));
  return {
    check: 'ports',
    state: `${shown(ports.rendezvous, (port) => `${String(port)} is free`)}; the kernel's own ${String(ports.ephemeral.from)}-${String(ports.ephemeral.to)}`,
    findings,
  };
};

function hcclFindings({ ephemeral, reserved, listening }: HostReadings['ports']): readonly Finding[] {
  const hccl = `${String(HCCL_PORTS.from)}-${String(HCCL_PORTS.to)}`;
  const remedy = `sysctl -w net.ipv4.ip_local_reserved_ports=${hccl}, and the same in /etc/sysctl.d; keep what is reserved already.`;
  const findings: Finding[] = [];
  const isIn = (port: number, { from, to }: PortRange): boolean => port >= from && port <= to;
  const wanted = Array.from({ length: HCCL_PORTS.to - HCCL_PORTS.from + 1 }, (_, index) => HCCL_PORTS.from + index);
  if (wanted.some((port) => isIn(port, ephemeral) && !reserved.some((range) => isIn(port, range))))
    findings.push(
      finding('warn', {
        sentence: `The kernel may give HCCL's ports ${hccl} to other connections.`,
        ...{ value: `${String(ephemeral.from)}-${String(ephemeral.to)}`, rule: `should leave out ${hccl}`, remedy },
      }),
    );
  if ('unread' in listening)
    return [...findings, unreadFinding('warn', 'Who listens', listening.unread, 'Ask by hand: ss -ltnp.')];
  const taken = listening.value.filter((port) => isIn(port, HCCL_PORTS));
  if (taken.length > 0)
    findings.push(
      finding('refuse', {
        sentence: `Somebody listens on HCCL's port ${taken.join(', ')}.`,
        ...{ value: taken.join(', '), rule: `must leave ${hccl} to HCCL` },
        remedy: 'See who (ss -ltnp): a trainer that is left over is ended, another program gets another port.',
      }),
    );
  return findings;
}

/** Logs of several hosts are put in order by their clocks. */
const MAX_ERROR_MS = 1_000;
/**
 * A third of what S3 allows a signature to be off (15 minutes, RequestTimeTooSkewed). And of two hosts' failures the earlier one is the root: the
 * ranks of a dead host's peers speak within minutes, so beyond these the wrong host would be blamed.
 */
const MAX_AHEAD_MS = 5 * 60_000;

const clockCheck: Check = ({ clock, clockAheadMs }) => {
  const remedy = 'Run chronyd or systemd-timesyncd on the host, against the same source as the other hosts.';
  const check = 'clock';
  const known = 'value' in clock ? clock.value : undefined;
  const isSynchronised = known?.isSynchronised === true;
  const error = `${(known?.maxErrorMs ?? 0).toFixed(0)} ms`;
  const state =
    known === undefined ? 'unknown' : isSynchronised ? `synchronised, at most ${error} off` : 'not synchronised';
  if (clockAheadMs !== undefined && Math.abs(clockAheadMs) > MAX_AHEAD_MS) {
    const minutes = String(Math.floor(Math.abs(clockAheadMs) / 60_000));
    // A clock that is kept right differs from one that is not: nothing says that it is this one.
    return {
      ...{ check, state },
      findings: [
        finding(isSynchronised ? 'warn' : 'refuse', {
          sentence: `The clock is at least ${minutes} minutes ${clockAheadMs > 0 ? 'ahead of' : 'behind'} that of Temporal's server${isSynchronised ? '' : ', and nobody is known to keep it right'}.`,
          value: `${minutes} minutes`,
          rule: `${isSynchronised ? 'should' : 'must'} be at most ${String(MAX_AHEAD_MS / 60_000)} minutes off`,
          remedy: isSynchronised
            ? 'See to the clock of the server, or to the source by which this one is kept.'
            : remedy,
        }),
      ],
    };
  }
  if ('unread' in clock) return { check, state, findings: [unreadFinding('warn', 'The clock', clock.unread, remedy)] };
  if (isSynchronised && clock.value.maxErrorMs <= MAX_ERROR_MS) return { check, state, findings: [] };
  const sentence = isSynchronised
    ? `The clock may be ${error} off.`
    : 'Nobody keeps the clock right: the kernel says that it is not synchronised.';
  const rule = `should be synchronised, and at most ${String(MAX_ERROR_MS)} ms off`;
  return { check, state, findings: [finding('warn', { sentence, value: state, rule, remedy })] };
};

const storeCheck: Check = ({ store }) => {
  if (store === undefined) return undefined;
  const remedy =
    'Mount it, make its folder if the store is new, or start its server; on S3 look at endpoint, bucket and credentials (docs/operations.md, "A store on S3").';
  const findings =
    'value' in store
      ? []
      : [
          finding('refuse', {
            sentence: `The store is not reached (${store.unread}).`,
            ...{ value: 'away', rule: 'must be reachable from every host', remedy },
          }),
        ];
  return { check: 'store', state: 'value' in store ? store.value : 'away', findings };
};

export const HOST_CHECKS: readonly Check[] = [pythonCheck, diskCheck, shmCheck, portsCheck, clockCheck, storeCheck];

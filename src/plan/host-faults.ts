/** What speaks against a host itself, and when it is set apart for a day: on evidence, seldom, and never for a bad spec. */
import { gangClass } from './failures.js';
import type { Cordon, HostFault, HostView, NotedFault } from './hosts.js';
import type { NodeFailure } from './verdict.js';

const DAY_MS = 24 * 60 * 60 * 1000;
const FAULTS_FOR_QUARANTINE = 2;
/** A run that meets more bad hosts than these is more likely bad itself. */
const QUARANTINES_PER_RUN = 2;
/** More would only swell the pool's state: two are enough for a quarantine. */
const FAULTS_KEPT = 5;

/**
 * Failures that no spec can cause: nobody answers for the host, a process survives SIGKILL, somebody killed a supervisor, a look found it
 * unfit, a chip has failed. A trainer that dies is none of them: it would die on every host. What several hosts of a gang say of themselves
 * at once is not theirs, as Huawei's own stack counts it.
 */
export function hostFaults(failures: readonly NodeFailure[]): readonly HostFault[] {
  const isAlone = ({ host, type }: NodeFailure): boolean =>
    failures.every((one) => one.host === host || one.type !== type);
  return failures
    .filter((one) => {
      const { hostFault, ifAlone } = gangClass(one.type);
      return hostFault !== null && (!ifAlone || isAlone(one));
    })
    .map(({ host, type, message }) => ({ host, failure: type, message }));
}

/** Notes a fault; the second within a day, or the first that was no chance, sets the host apart for a day. */
export function noteFault(hosts: readonly HostView[], name: string, fault: NotedFault): readonly HostView[] {
  const byRun = hosts.filter(({ cordon }) => isQuarantine(cordon) && cordon.metBy === fault.metBy).length;
  return hosts.map((host) => {
    if (host.facts.name !== name) return host;
    const faults = [...recent(host.faults, fault.at), fault].slice(-FAULTS_KEPT);
    const isFound = gangClass(fault.failure).hostFault === 'once';
    const isBad =
      (isFound || faults.length >= FAULTS_FOR_QUARANTINE) && host.cordon === null && byRun < QUARANTINES_PER_RUN;
    if (!isBad) return { ...host, faults };
    const reason = isFound
      ? `Unfit to train: ${fault.message}`
      : `At fault ${String(faults.length)} times in 24 hours, the last time ${fault.failure}: ${fault.message}`;
    return { ...host, faults, cordon: { reason, since: fault.at, until: fault.at + DAY_MS, metBy: fault.metBy } };
  });
}

/** Cordons a host that a run has found bad by comparison with others, until an operator has looked at it; as seldom as a quarantine. */
export function blame(hosts: readonly HostView[], fault: HostFault, metBy: string, at: number): readonly HostView[] {
  const byRun = hosts.filter(({ cordon }) => cordon?.metBy === metBy).length;
  if (byRun >= QUARANTINES_PER_RUN) return hosts;
  const cordon = { reason: `${fault.failure}: ${fault.message}`, since: at, until: null, metBy };
  return hosts.map((host) =>
    host.facts.name === fault.host && host.cordon?.until !== null ? { ...host, cordon } : host,
  );
}

/** Quarantines that are over and faults older than a day are forgotten. */
export function forgetOld(hosts: readonly HostView[], now: number): readonly HostView[] {
  return hosts.map((host) => {
    const isOver = isQuarantine(host.cordon) && host.cordon.until <= now;
    const faults = recent(host.faults, now);
    if (!isOver && faults.length === host.faults.length) return host;
    return { ...host, faults: isOver ? [] : faults, cordon: isOver ? null : host.cordon };
  });
}

function recent(faults: readonly NotedFault[], now: number): readonly NotedFault[] {
  return faults.filter(({ at }) => at > now - DAY_MS);
}

function isQuarantine(cordon: Cordon | null): cordon is Cordon & { readonly until: number } {
  return cordon !== null && cordon.until !== null;
}

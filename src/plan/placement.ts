/** Which hosts a gang gets: live, free, of the right runtime and with enough NPUs; or the reason why it must wait. */
import { hostStatus, type HostRequest, type HostView, type Lease } from './hosts.js';

export type Placement = { readonly hosts: readonly string[] } | { readonly reason: string };
type Wish = Pick<HostRequest, 'hosts' | 'npusPerHost' | 'runtime' | 'prefer' | 'avoid'>;

/** Names, those first that are wished for and those last that are not, else by name: a gang that comes back gets the same hosts. */
export function place(hosts: readonly HostView[], wish: Wish): Placement {
  const fitting = hosts.filter((host) => fits(host, wish));
  const able = usable(fitting, wish).filter((host) => host.live && host.owner === null);
  const free = able.filter(({ vacating }) => vacating === null);
  if (free.length < wish.hosts) return { reason: `Waits for ${wanted(wish)}: ${countByState(fitting)}.` };
  const chosen = namesOf(free.sort(byWish(wish)).slice(0, wish.hosts));
  const { sooner, instead } = worthWaitingFor(able.filter(isBeingProven), chosen, wish);
  return sooner.length === 0
    ? { hosts: chosen }
    : { reason: `Waits for ${sooner.join(', ')} to be proven empty, rather than begin on ${instead.join(', ')}.` };
}

/**
 * Whoever is not suspected, in the place of a suspect. And whoever was in the gang before, in the place of a newcomer, who would have to
 * download what the other has on its disk: a gang that begins again asks for its hosts in the very moment in which it gives them back, so
 * they are never free yet. Not those that were at fault: such a host may be dying and not known to be.
 */
function worthWaitingFor(
  coming: readonly HostView[],
  chosen: readonly string[],
  { prefer = [], avoid = [] }: Wish,
): { readonly sooner: readonly string[]; readonly instead: readonly string[] } {
  const others = coming.filter(({ facts }) => !avoid.includes(facts.name));
  const suspects = chosen.filter((name) => avoid.includes(name));
  if (suspects.length > 0) return { sooner: namesOf(others), instead: suspects };
  const newcomers = chosen.filter((name) => !prefer.includes(name));
  const back = others.filter(({ facts, faults }) => prefer.includes(facts.name) && faults.length === 0);
  return { sooner: newcomers.length === 0 ? [] : namesOf(back), instead: newcomers };
}

const namesOf = (hosts: readonly HostView[]): readonly string[] => hosts.map(({ facts }) => facts.name);

/** Within seconds it is free, or has failed to be. */
const isBeingProven = ({ vacating }: HostView): boolean => vacating !== null && vacating.failure === null;

/** The pool keeps its hosts by name, and sorting keeps the order of what is equally wished for. */
function byWish({ prefer = [], avoid = [] }: Wish): (a: HostView, b: HostView) => number {
  const rank = ({ facts }: HostView): number =>
    Number(avoid.includes(facts.name)) * 2 - Number(prefer.includes(facts.name));
  return (a, b) => rank(a) - rank(b);
}

/**
 * Leases by node rank. Who was in the gang before keeps its node, since it has that node's part of the commit on its disk; the others
 * take the places that are left, by name.
 */
export function seat(leases: readonly Lease[], before: readonly string[]): readonly Lease[] {
  const staying = leases.map((_, nodeRank) => leases.find(({ host }) => host.name === before[nodeRank]));
  const others = leases.filter((lease) => !staying.includes(lease));
  return staying.flatMap((lease) => lease ?? others.shift() ?? []);
}

/**
 * Why a run of this size can never begin: the cluster has fewer such hosts, whatever they do at the moment. Undefined when it
 * may. A cluster whose agents are just starting is the caller's to wait for.
 */
export function refuseSize(hosts: readonly HostView[], cluster: string, wish: Wish): string | undefined {
  const fitting = hosts.filter((host) => fits(host, wish));
  if (fitting.length >= wish.hosts) return undefined;
  const has = fitting.length === 0 ? 'none' : `${String(fitting.length)} (${countByState(fitting)})`;
  return `The run needs ${wanted(wish)}; cluster "${cluster}" has ${has}. Lay it out on fewer hosts, or start agents on more.`;
}

/** A live host for work that needs no NPU, the least used first; undefined when none is left. */
export function placeIo(hosts: readonly HostView[], runtime: string, except: readonly string[]): string | undefined {
  const live = hosts.filter(
    ({ facts, live, cordon }) =>
      live && facts.runtime === runtime && cordon?.until !== null && !except.includes(facts.name),
  );
  const free = live.find((host) => hostStatus(host) === 'free');
  return (free ?? live[0])?.facts.name;
}

function fits({ facts }: HostView, { runtime, npusPerHost }: Wish): boolean {
  return facts.runtime === runtime && facts.npus >= npusPerHost;
}

/**
 * An operator's cordon always holds; a quarantine only while the gang could be placed without the host: on hosts that live, and are not stuck
 * with what they could not be proven free of.
 */
function usable(fitting: readonly HostView[], { hosts }: Wish): readonly HostView[] {
  const sound = fitting.filter(({ cordon }) => cordon === null);
  const isToBeHad = ({ live, vacating }: HostView): boolean => live && (vacating?.failure ?? null) === null;
  if (sound.filter(isToBeHad).length >= hosts) return sound;
  return fitting.filter(({ cordon }) => cordon?.until !== null);
}

const ALWAYS_TOLD = ['free', 'leased', 'silent'];
const SELDOM = ['draining', 'vacating', 'cordoned', 'quarantined'];

/** A silent host is silent, whatever else it is: `2 free, 1 leased, 0 silent, 1 cordoned`. */
function countByState(hosts: readonly HostView[]): string {
  const states = hosts.map((host): string => (host.live ? hostStatus(host) : 'silent'));
  const counted = [...ALWAYS_TOLD, ...SELDOM.filter((state) => states.includes(state))];
  return counted.map((state) => `${String(states.filter((one) => one === state).length)} ${state}`).join(', ');
}

function wanted({ hosts, npusPerHost, runtime }: Wish): string {
  return `${hosts === 1 ? '1 host' : `${String(hosts)} hosts`} with ${String(npusPerHost)} ${runtime} NPUs each`;
}

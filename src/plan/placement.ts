/** Which hosts a gang gets: live, free, of the right runtime and with enough NPUs; or the reason why it must wait. */
import type { HostRequest, HostView } from './hosts.js';

export type Placement = { readonly hosts: readonly string[] } | { readonly reason: string };

/** Names in the order of node ranks: by name, so that a gang that comes back gets the same hosts in the same order. */
export function place(hosts: readonly HostView[], request: Omit<HostRequest, 'owner'>): Placement {
  const fitting = hosts.filter(({ facts }) => facts.runtime === request.runtime && facts.npus >= request.npusPerHost);
  const live = fitting.filter((host) => host.live);
  const free = live.filter((host) => host.owner === null);
  if (free.length >= request.hosts) return { hosts: free.slice(0, request.hosts).map(({ facts }) => facts.name) };
  const wanted = `Waits for ${hostCount(request.hosts)} with ${String(request.npusPerHost)} ${request.runtime} NPUs each`;
  return {
    reason: `${wanted}: ${String(free.length)} free, ${String(live.length - free.length)} leased, ${String(fitting.length - live.length)} silent.`,
  };
}

/** A live host for work that needs no NPU, the least used first; undefined when none is left. */
export function placeIo(hosts: readonly HostView[], runtime: string, except: readonly string[]): string | undefined {
  const live = hosts.filter(({ facts, live }) => live && facts.runtime === runtime && !except.includes(facts.name));
  const free = live.find((host) => host.owner === null);
  return (free ?? live[0])?.facts.name;
}

function hostCount(hosts: number): string {
  return hosts === 1 ? '1 host' : `${String(hosts)} hosts`;
}

/** `anneal hosts`: what the pool knows of its hosts, who holds them, what trains there, who waits; and setting one apart. */
import type { HostListing, HostView, Waiting } from '../../client/index.js';
import { hostStatus } from '../../plan/hosts.js';
import { utcTime } from '../../plan/numbers.js';
import { EXIT_CODES } from '../exit-codes.js';
import { note, print, printJson } from '../output.js';
import { textTable } from '../../report/table.js';
import { withAnneal, type WhereFlags } from '../where.js';

type Read = WhereFlags & { readonly json?: boolean };

export async function hosts(flags: Read): Promise<number> {
  return withAnneal(flags, async (anneal) => {
    const listed = await anneal.hosts.list();
    if (flags.json) printJson(listed);
    else if (listed.length === 0)
      note(
        `No agent has registered with cluster "${anneal.place.cluster}" yet. Start one: anneal agent --config agent.yaml`,
      );
    else print(showHosts(listed));
    const waiting = flags.json ? [] : await anneal.hosts.queue();
    if (waiting.length > 0) print(`\n${showQueue(waiting)}`);
    return EXIT_CODES.ok.code;
  });
}

export async function showHost(name: string, flags: Read): Promise<number> {
  return withAnneal(flags, async (anneal) => {
    const host = await anneal.hosts.get(name);
    if (flags.json) printJson(host);
    else print(showOneHost(host));
    return EXIT_CODES.ok.code;
  });
}

export async function queue(flags: Read): Promise<number> {
  return withAnneal(flags, async (anneal) => {
    const waiting = await anneal.hosts.queue();
    if (flags.json) printJson(waiting);
    else if (waiting.length === 0) note(`Nobody waits for hosts of cluster "${anneal.place.cluster}".`);
    else print(showQueue(waiting));
    return EXIT_CODES.ok.code;
  });
}

export async function cordon(name: string, flags: WhereFlags & { readonly reason: string }): Promise<number> {
  return withAnneal(flags, async (anneal) => {
    const { owner } = await anneal.hosts.cordon(name, flags.reason);
    print(`${name} is cordoned${owner === null ? '' : `; ${owner.workflowId} holds it and keeps it`}.`);
    return EXIT_CODES.ok.code;
  });
}

export async function drain(name: string, flags: WhereFlags & { readonly reason: string }): Promise<number> {
  return withAnneal(flags, async (anneal) => {
    const { owner } = await anneal.hosts.drain(name, flags.reason);
    const moves = `${owner?.workflowId ?? ''} holds it; it saves, gives its hosts back and goes on with others`;
    print(`${name} is cordoned${owner === null ? '; nobody held it' : `; ${moves}`}.`);
    return EXIT_CODES.ok.code;
  });
}

export async function uncordon(name: string, flags: WhereFlags): Promise<number> {
  return withAnneal(flags, async (anneal) => {
    await anneal.hosts.uncordon(name);
    print(`${name} is not cordoned.`);
    return EXIT_CODES.ok.code;
  });
}

export function showHosts(listed: readonly HostListing[]): string {
  const rows = listed.map((host) => [
    host.facts.name,
    host.live ? 'live' : 'silent',
    hostStatus(host),
    healthOf(host),
    String(host.facts.npus),
    host.facts.runtime,
    host.facts.address,
    String(host.facts.agentPid),
    host.trainerPid === undefined ? '-' : String(host.trainerPid),
    String(host.fence),
    why(host),
  ]);
  return textTable(
    ['HOST', 'AGENT', 'STATE', 'HEALTH', 'NPUS', 'RUNTIME', 'ADDRESS', 'AGENT PID', 'TRAINER PID', 'FENCE', 'HELD BY'],
    rows,
  );
}

export function showQueue(waiting: readonly Waiting[]): string {
  const rows = waiting.map(({ place, priority, owner, reason }) => [
    String(place),
    priority,
    `${owner.workflowId} (generation ${String(owner.generation)})`,
    reason,
  ]);
  return textTable(['PLACE', 'PRIORITY', 'WAITS FOR HOSTS', 'WHY'], rows);
}

export function showOneHost(host: HostView): string {
  const { facts, cordon: set, faults, vacating, health } = host;
  const rows = [
    ['agent', `${host.live ? 'live' : 'silent'}, pid ${String(facts.agentPid)} since ${facts.agentStartedAt}`],
    ['state', [hostStatus(host), why(host)].filter((part) => part !== '-').join(': ')],
    ...(health === undefined
      ? []
      : [
          ['health', `${healthOf(host)} since ${utcTime(health.since)}`],
          ...health.findings.map((one) => ['finding', one]),
        ]),
    ['machine', `${facts.machineId || 'unknown'}, boot ${facts.bootId}`],
    ['address', facts.address],
    ['devices', `${String(facts.npus)} ${facts.runtime} NPUs`],
    ['version', facts.version],
    ['fence', String(host.fence)],
    ...(set === null
      ? []
      : [
          [
            'cordon',
            `${set.reason} (since ${utcTime(set.since)}${set.until === null ? '' : `, until ${utcTime(set.until)}`})`,
          ],
        ]),
    ...(vacating === null || vacating.failure === null ? [] : [['not empty', vacating.failure]]),
    ...faults.map(({ at, failure, message, metBy }) => [
      'fault',
      `${utcTime(at)} ${failure}, met by ${metBy ?? 'nobody'}: ${message}`,
    ]),
  ];
  return textTable([facts.name, ''], rows);
}

/** By its agent's last look; a dash until there was one. */
function healthOf({ health }: HostView): string {
  if (health === undefined) return '-';
  const { isFit, findings } = health;
  if (!isFit) return 'unfit';
  return findings.length === 0 ? 'fit' : 'fit, warned';
}

/** Who holds it, else why it is not free. */
function why({ owner, vacating, cordon: set }: HostView): string {
  if (owner !== null) return `${owner.workflowId} (generation ${String(owner.generation)})`;
  return vacating?.why ?? set?.reason ?? '-';
}

/**
 * What a gang makes of the looks at its hosts before a launch: which of them are unfit, and what people should know. A finding of one host
 * speaks against that host; what all hosts of a gang say is nobody's own fault.
 */
import type { NodeFailure } from './verdict.js';

export interface HostFinding {
  readonly check: string;
  /** `refuse`: a training there would fail or be wrong. */
  readonly severity: 'refuse' | 'warn';
  /** What is the case, and what must hold. */
  readonly sentence: string;
  readonly remedy: string;
}

/** What a look at a host has found; short, since a gang may have a thousand. */
export interface HostCheck {
  /** Those that refuse the host first. */
  readonly findings: readonly HostFinding[];
  /** Of what should be the same on all hosts of a gang, by name. */
  readonly versions: Readonly<Record<string, string>>;
}

/** By node rank. */
export interface NodeLook {
  readonly host: string;
  /** Or why nothing is known of the host. */
  readonly look: HostCheck | { readonly unknown: string };
}

export interface Preflight {
  /** Those whose hosts are unfit: the gang must not be launched. Empty when it may be. */
  readonly unfit: readonly NodeFailure[];
  readonly warnings: readonly string[];
}

const WARNINGS_KEPT = 10;
const NAMES_KEPT = 4;
/** Staging in waits for a store that is away; one that others reach is another matter. */
const WAITED_FOR = 'store';

export function judgePreflight(nodes: readonly NodeLook[]): Preflight {
  const known = nodes.flatMap(({ host, look }) => ('unknown' in look ? [] : [{ host, ...look }]));
  const isOfAll = ({ check }: HostFinding): boolean =>
    known.every(({ findings }) => findings.some((one) => one.severity === 'refuse' && one.check === check));
  const isUnfitBy = (finding: HostFinding): boolean =>
    finding.severity === 'refuse' && !(finding.check === WAITED_FOR && isOfAll(finding));
  const unfit = nodes.flatMap(({ host, look }, nodeRank): NodeFailure[] => {
    const against = 'unknown' in look ? [] : look.findings.filter(isUnfitBy);
    if (against.length === 0) return [];
    const own = known.length === 1 ? against : against.filter((finding) => !isOfAll(finding));
    const [type, told] = own.length > 0 ? (['HostUnfit', own] as const) : (['GangUnfit', against] as const);
    return [{ host, nodeRank, type, message: told.map(({ sentence, remedy }) => `${sentence} ${remedy}`).join(' ') }];
  });
  const warnings = [
    ...nodes.flatMap(({ host, look }) =>
      'unknown' in look ? [{ host, sentence: `It was not looked at: ${look.unknown}` }] : [],
    ),
    ...known.flatMap(({ host, findings }) =>
      findings.filter((one) => !isUnfitBy(one)).map(({ sentence }) => ({ host, sentence })),
    ),
  ];
  return { unfit, warnings: [...together(warnings), ...differences(known)].slice(0, WARNINGS_KEPT) };
}

/** One line for all hosts of which the same is said. */
function together(said: readonly { readonly host: string; readonly sentence: string }[]): readonly string[] {
  const hosts = new Map<string, string[]>();
  for (const { host, sentence } of said) hosts.set(sentence, [...(hosts.get(sentence) ?? []), host]);
  return [...hosts].map(([sentence, names]) => `${list(names)}: ${sentence}`);
}

/** Collectives between unequal versions fail, or give other bits. */
function differences(nodes: readonly (HostCheck & { readonly host: string })[]): readonly string[] {
  const names = [...new Set(nodes.flatMap(({ versions }) => Object.keys(versions)))];
  return names.flatMap((name) => {
    const hosts = new Map<string, string[]>();
    for (const { host, versions } of nodes) {
      const version = versions[name] ?? 'none';
      hosts.set(version, [...(hosts.get(version) ?? []), host]);
    }
    if (hosts.size < 2) return [];
    return [
      `${name} is not the same on all hosts: ${[...hosts].map(([version, on]) => `${version} on ${list(on)}`).join(', ')}.`,
    ];
  });
}

function list(hosts: readonly string[]): string {
  const more = hosts.length - NAMES_KEPT;
  return hosts.slice(0, NAMES_KEPT).join(', ') + (more > 0 ? ` and ${String(more)} more` : '');
}

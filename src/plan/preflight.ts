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
  /** Of what must be the same on all hosts of a gang, by name; what could not be read is left out. */
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

/** Among `versions`. A host of another kind is no worse than the others: it belongs to another cluster, and is not set apart. */
export const CHIP_KIND = 'The kind of chip';

/** Among `versions`. Each port agrees on it with its own switch, and where those two differ the link is down: hosts that differ are told of. */
export const ERROR_CORRECTION = 'The error correction of the ports';

/** 910B1 to 910B4. */
const A2 = '910B';

const WARNINGS_KEPT = 10;
const NAMES_KEPT = 4;
/**
 * Between a host and something else, which may as well be at fault when all hosts say it: staging in waits for a store that nobody reaches,
 * and a clock from which all hosts differ is the server's.
 */
const BETWEEN: readonly string[] = ['store', 'clock'];

export function judgePreflight(looks: readonly NodeLook[]): Preflight {
  const nodes = looks.length > 1 ? looks.map(asOneOfSeveral) : looks;
  const known = nodes.flatMap(({ host, look }) => ('unknown' in look ? [] : [{ host, ...look }]));
  const isOfAll = ({ check }: HostFinding): boolean =>
    known.every(({ findings }) => findings.some((one) => one.severity === 'refuse' && one.check === check));
  const isUnfitBy = (finding: HostFinding): boolean =>
    finding.severity === 'refuse' && !(BETWEEN.includes(finding.check) && isOfAll(finding));
  const all = differences(known);
  const unlike = all.filter(({ name }) => name !== ERROR_CORRECTION);
  const unfit = nodes.flatMap(({ host, look }, nodeRank): NodeFailure[] => {
    const against = 'unknown' in look ? [] : look.findings.filter(isUnfitBy);
    const own = [
      ...(known.length === 1 ? against : against.filter((finding) => !isOfAll(finding))),
      ...unlike.filter(({ odd }) => odd.includes(host)),
    ];
    const told = own.length > 0 ? own : [...against, ...unlike.filter(({ undecided }) => undecided.includes(host))];
    if (told.length === 0) return [];
    const type = own.length > 0 ? 'HostUnfit' : 'GangUnfit';
    return [{ host, nodeRank, type, message: told.map(({ sentence, remedy }) => `${sentence} ${remedy}`).join(' ') }];
  });
  const warnings = [
    ...nodes.flatMap(({ host, look }) =>
      'unknown' in look ? [{ host, sentence: `It was not looked at: ${look.unknown}` }] : [],
    ),
    ...known.flatMap(({ host, findings }) =>
      findings.filter((one) => !isUnfitBy(one)).map(({ sentence }) => ({ host, sentence })),
    ),
    ...all
      .filter((one) => !unlike.includes(one))
      .flatMap(({ odd, undecided, sentence }) => [...odd, ...undecided].map((host) => ({ host, sentence }))),
  ];
  return { unfit, warnings: together(warnings).slice(0, WARNINGS_KEPT) };
}

/** An A2 reaches other hosts by the addresses of its chips alone, so what is a warning of one host refuses it in a gang of several. */
function asOneOfSeveral(node: NodeLook): NodeLook {
  if ('unknown' in node.look || node.look.versions[CHIP_KIND]?.startsWith(A2) !== true) return node;
  const findings = node.look.findings.map((one): HostFinding =>
    one.check === 'address' ? { ...one, severity: 'refuse' } : one,
  );
  return { ...node, look: { ...node.look, findings } };
}

/** One line for all hosts of which the same is said. */
function together(said: readonly { readonly host: string; readonly sentence: string }[]): readonly string[] {
  const hosts = new Map<string, string[]>();
  for (const { host, sentence } of said) hosts.set(sentence, [...(hosts.get(sentence) ?? []), host]);
  return [...hosts].map(([sentence, names]) => `${list(names)}: ${sentence}`);
}

interface Difference {
  readonly name: string;
  readonly sentence: string;
  readonly remedy: string;
  /** The hosts that differ from what more than half of them have. */
  readonly odd: readonly string[];
  /** All that have one, where no more than half agree: it speaks against none of them. */
  readonly undecided: readonly string[];
}

/** Collectives between unequal versions fail (EI0008), of unequal switches wait for each other (EI0006), or give other bits. */
function differences(nodes: readonly (HostCheck & { readonly host: string })[]): readonly Difference[] {
  const names = [...new Set(nodes.flatMap(({ versions }) => Object.keys(versions)))];
  return names.flatMap((name) => {
    const hosts = new Map<string, string[]>();
    // What could not be read is no evidence, and has a finding of its own.
    for (const { host, versions } of nodes) {
      const version = versions[name];
      if (version !== undefined) hosts.set(version, [...(hosts.get(version) ?? []), host]);
    }
    if (hosts.size < 2) return [];
    const all = [...hosts.values()].flat();
    const most = name === CHIP_KIND ? undefined : [...hosts.values()].find((on) => on.length * 2 > all.length);
    return [
      {
        name,
        sentence: `${name} must be the same on all hosts of a gang, but is ${[...hosts].map(([version, on]) => `${version} on ${list(on)}`).join(', ')}.`,
        remedy:
          name === CHIP_KIND
            ? 'Give hosts of each kind a cluster of their own ("cluster" in the settings of agents and workers).'
            : 'Make it the same on all hosts.',
        odd: most === undefined ? [] : all.filter((host) => !most.includes(host)),
        undecided: most === undefined ? all : [],
      },
    ];
  });
}

function list(hosts: readonly string[]): string {
  const more = hosts.length - NAMES_KEPT;
  return hosts.slice(0, NAMES_KEPT).join(', ') + (more > 0 ? ` and ${String(more)} more` : '');
}

/** A loss that is no number: from where the run goes on, which hosts it leaves out, and when a host alone is to blame. */
import type { HostFault } from './hosts.js';
import type { Commit } from './run-log.js';

/** What a trainer says of the first iteration whose loss or gradient is no number. Numbers as it printed them. */
export interface NotFinite {
  readonly iteration: number;
  readonly loss: string;
  readonly gradNorm?: string;
  readonly lossBefore?: string;
  /** Nodes whose ranks made it out of finite values; empty when nobody can tell. */
  readonly nodes: readonly number[];
}

export interface Divergence {
  readonly generation: number;
  /** By node rank. */
  readonly hosts: readonly string[];
  readonly facts: NotFinite;
}

export type DivergenceVerdict =
  /** Commits to drop, oldest first: whatever was saved at the bad iteration or after it. */
  | { readonly decision: 'before the bad iteration'; readonly drop: readonly Commit[]; readonly why: string }
  | { readonly decision: 'give up'; readonly type: 'LossDiverged'; readonly why: string };

/** Hosts on which it began. */
export function suspectsOf({ hosts, facts }: Divergence): readonly string[] {
  return facts.nodes.flatMap((nodeRank) => hosts[nodeRank] ?? []);
}

/**
 * The first time, the run goes back: a bit may have flipped, and a host that makes NaN is found by leaving it out. When it happens
 * again before a commit has got past the first bad iteration, the input makes it, and the user has to act. So each step back is paid for
 * by progress.
 */
export function judgeDivergence(
  now: Divergence,
  before: Divergence | undefined,
  commits: readonly Commit[],
): DivergenceVerdict {
  if (before !== undefined) return { decision: 'give up', type: 'LossDiverged', why: evidence(before, now) };
  const { iteration } = now.facts;
  const drop = commits.filter((commit) => commit.iteration >= iteration);
  const last = commits.findLast((commit) => commit.iteration < iteration);
  const dropped = drop.map((commit) => String(commit.iteration)).join(', ');
  return {
    decision: 'before the bad iteration',
    drop,
    why: [
      ...(dropped === '' ? [] : [`Drops what was saved at iteration ${dropped}.`]),
      last === undefined
        ? 'Starts from the converted model: no commit is left before the bad iteration.'
        : `Goes back to iteration ${String(last.iteration)} if all its numbers are finite.`,
      ...(suspectsOf(now).length === 0
        ? []
        : [`Leaves out ${names(suspectsOf(now))}, where it began, if other hosts are free.`]),
    ].join(' '),
  };
}

/** What a commit says of an earlier divergence: nothing until it is past it; then whether one host alone has made it. */
export function judgeCommit(
  open: Divergence,
  { iteration, hosts }: { readonly iteration: number; readonly hosts: readonly string[] },
): { readonly blame: HostFault | null } | undefined {
  if (iteration < open.facts.iteration) return undefined;
  const [host, ...others] = suspectsOf(open);
  if (host === undefined || others.length > 0 || hosts.includes(host)) return { blame: null };
  const message = `it made the ${told(open.facts)} in generation ${String(open.generation)}; ${names(hosts)} got past that.`;
  return { blame: { host, failure: 'LossDiverged', message } };
}

function evidence(before: Divergence, now: Divergence): string {
  const isElsewhere = suspectsOf(before).length > 0 && suspectsOf(before).every((host) => !now.hosts.includes(host));
  return [
    'The loss is no number again, and no commit got past the first time:',
    `${placed(before)}; ${placed(now)}.`,
    isElsewhere
      ? `The second time it happened without ${names(suspectsOf(before))}, so no host is to blame.`
      : 'No other hosts were free to tell whether a host makes it: if you suspect one, `anneal hosts cordon HOST`.',
    'Lower training.learningRate, or look at the rows that this iteration reads; then submit the run again.',
  ].join(' ');
}

function placed(one: Divergence): string {
  const began = suspectsOf(one).length === 0 ? '' : `, which began on ${names(suspectsOf(one))}`;
  return `${told(one.facts)} in generation ${String(one.generation)} on ${names(one.hosts)}${began}`;
}

function told({ iteration, loss, gradNorm, lossBefore }: NotFinite): string {
  const norm = gradNorm === undefined ? '' : ` and gradient norm ${gradNorm}`;
  const before = lossBefore === undefined ? '' : ` (loss ${lossBefore} before it)`;
  return `loss ${loss}${norm} of iteration ${String(iteration)}${before}`;
}

function names(hosts: readonly string[]): string {
  return hosts.join(', ');
}

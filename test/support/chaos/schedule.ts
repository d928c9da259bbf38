/**
 * What happens to a run of a round, drawn by a seed: one to three faults, each at a moment of the run. Pure, so the same seed is the
 * same schedule. What the design cannot recover from without a person is not drawn, or heals after some seconds.
 */
import { Random } from './random.js';

/** Iterations of a round's training, and between two of its saves. */
export const ITERATIONS = 60;
export const EVERY = 10;

/** What is struck: of the node of a strike, of its host, or of the cluster. */
const OF_TRAINER = ['rank', 'torchrun', 'supervisor'] as const;
const OF_HOST = ['agent', 'host'] as const;
const OF_CLUSTER = ['control worker', 'Temporal', 'S3'] as const;
export type Victim = (typeof OF_TRAINER)[number] | (typeof OF_HOST)[number] | (typeof OF_CLUSTER)[number];
const LINKS = ['Temporal', 'store'] as const;
export type LinkName = (typeof LINKS)[number];

export type FaultKind =
  | `kill ${Victim}`
  /** SIGSTOP, and SIGCONT when its seconds are over. */
  | `freeze ${Victim}`
  /** Of the host of the strike's node: connections end, stand still, or crawl. */
  | `${'cut' | 'stall' | 'slow'} ${LinkName} link`
  /** The work root of the host takes no more. */
  | 'fill disk'
  /** A bit of the last commit turns over in the store. */
  | 'corrupt commit';

/** These need trainers to strike at. */
export const TRAINER_KINDS: readonly FaultKind[] = OF_TRAINER.flatMap((victim) => [
  `kill ${victim}` as const,
  `freeze ${victim}` as const,
]);
/** These can be met at any moment. */
const ANYWHERE_KINDS: readonly FaultKind[] = [
  ...[...OF_HOST, ...OF_CLUSTER].flatMap((victim) => [`kill ${victim}` as const, `freeze ${victim}` as const]),
  ...LINKS.flatMap((link) => [
    `cut ${link} link` as const,
    `stall ${link} link` as const,
    `slow ${link} link` as const,
  ]),
];
export const FAULT_KINDS: readonly FaultKind[] = [...TRAINER_KINDS, ...ANYWHERE_KINDS, 'fill disk', 'corrupt commit'];

/** These end a generation for sure, so that another one restores. */
const BREAKING: readonly FaultKind[] = ['kill rank', 'kill torchrun', 'kill supervisor'];
const TRAINING_MOMENTS = [
  'iteration reached',
  'save begun',
  'saved, not shipped',
  'part sent',
  'shipped, not committed',
  'manifest written',
  'commit made',
  'last iteration done',
] as const;
export type Moment = (typeof TRAINING_MOMENTS)[number] | 'stage-in begun' | 'publish half done';

export interface Fault {
  readonly kind: FaultKind;
  /** How long what is down stays down, what is frozen stays so and what is cut stays cut. */
  readonly seconds: number;
}

/** Faults of the same moment, at the same node. */
export interface Strike {
  readonly moment: Moment;
  /** The first iteration at which it may be that moment. */
  readonly after: number;
  readonly node: number;
  readonly faults: readonly Fault[];
}

export interface Schedule {
  readonly seed: number;
  /** Hosts of the gang. */
  readonly hosts: 2 | 3;
  /** In the order in which they are waited for. */
  readonly strikes: readonly Strike[];
}

/** Later there is no save that could be met, but the last. */
const LAST_BEGIN = ITERATIONS - EVERY;
const PAST_LEASE = 18;
/** Nobody notices; past the heartbeat (5 s); past the lease (15 s) and past what the pool takes for silence (13 s): that, one strike of a round at most. */
const SECONDS = [1, 7, PAST_LEASE] as const;
const MOST_FAULTS = 3;
/** Of the faults that could strike together with the one before. */
const TOGETHER = 0.35;

export function scheduleOf(seed: number): Schedule {
  const random = new Random(seed);
  const hosts = random.oneOf([2, 3] as const);
  const groups = groupsOf(random);
  const strikes: Strike[] = [];
  for (const [index, size] of groups.entries())
    strikes.push(...strikesOf(random, { hosts, index, size, groups, strikes }));
  return { seed, hosts, strikes };
}

/** How many faults each strike has. */
function groupsOf(random: Random): readonly number[] {
  const groups = [1];
  for (let faults = random.between(1, MOST_FAULTS); faults > 1; faults -= 1)
    if (random.next() < TOGETHER) groups[groups.length - 1]! += 1;
    else groups.push(1);
  return groups;
}

interface Drawing {
  readonly hosts: number;
  readonly index: number;
  readonly size: number;
  readonly groups: readonly number[];
  readonly strikes: readonly Strike[];
}

function strikesOf(random: Random, drawing: Drawing): readonly Strike[] {
  const { hosts, index, groups, strikes } = drawing;
  const before = strikes.flatMap(({ faults }) => faults.map((fault) => fault.kind));
  const kind = random.oneOf(FAULT_KINDS.filter((one) => !before.includes(one)));
  const moment = random.oneOf(momentsOf(kind, drawing));
  // To each strike its share of the iterations: what one has broken commits something before the next, since restarts without are few.
  const share = LAST_BEGIN / groups.length;
  const [first, last] = [Math.round(index * share) + 2, Math.round((index + 1) * share) - 1];
  const after = moment === 'last iteration done' ? ITERATIONS : random.between(first, last);
  const node = random.between(0, hosts - 1);
  if (kind !== 'corrupt commit') return [{ moment, after, node, faults: faultsOf(random, drawing, kind, moment) }];
  // Who stays goes on from its own copy and never reads what is damaged: only who comes for a host that is gone does.
  return [
    { moment, after, node, faults: [{ kind: 'kill host', seconds: PAST_LEASE }] },
    { moment: 'stage-in begun', after, node, faults: [{ kind, seconds: 0 }] },
  ];
}

/** When a fault may strike that is the first of its strike. */
function momentsOf(kind: FaultKind, { index, groups, strikes }: Drawing): readonly Moment[] {
  if (kind === 'corrupt commit') return ['commit made'];
  // A disk is full before a save, or in the middle of one.
  if (kind === 'fill disk') return ['iteration reached', 'save begun'];
  const isLast = index === groups.length - 1;
  const trains = TRAINING_MOMENTS.filter((moment) => isLast || moment !== 'last iteration done');
  if (TRAINER_KINDS.includes(kind)) return trains;
  const before = strikes.at(-1);
  if (before !== undefined && before.moment !== 'stage-in begun' && breaks(before))
    // Where a generation was surely broken, most of what follows is at the restore of the next.
    return ['stage-in begun', 'stage-in begun', 'iteration reached'];
  return [
    ...trains,
    ...(index === 0 ? (['stage-in begun'] as const) : []),
    ...(isLast ? (['publish half done'] as const) : []),
  ];
}

function breaks({ faults }: Strike): boolean {
  return faults.some(({ kind }) => BREAKING.includes(kind));
}

function faultsOf(random: Random, { size, strikes }: Drawing, first: FaultKind, moment: Moment): readonly Fault[] {
  const kinds: FaultKind[] = [first];
  const isTraining = (TRAINING_MOMENTS as readonly Moment[]).includes(moment);
  const others = isTraining ? [...TRAINER_KINDS, ...ANYWHERE_KINDS] : ANYWHERE_KINDS;
  while (kinds.length < size) kinds.push(random.oneOf(others.filter((one) => !kinds.includes(one))));
  const wasLong = strikes.some((strike) => strike.faults.some(({ seconds }) => seconds === PAST_LEASE));
  const choices = SECONDS.filter((seconds) => !wasLong || seconds !== PAST_LEASE);
  return kinds.map((kind) => ({ kind, seconds: random.oneOf(choices) }));
}

/** As a line of a round has it: `kill agent 7 s`. */
export function describeFault({ kind, seconds }: Fault): string {
  const isLasting = !BREAKING.includes(kind) && kind !== 'corrupt commit';
  return isLasting ? `${kind} ${String(seconds)} s` : kind;
}

/**
 * How a gang's state takes up what is heard of it. Pure steps, each answers with the change alone: workflows take them when a save
 * or an end is reported, a watcher at each look.
 */
import type { HostFault } from '../plan/hosts.js';
import type { Restored, TrainProgress } from './activities.js';
import { KEPT, type GangNews, type GangState, type GangWords, type Handover, type Incident } from './gang.js';

type Change = Partial<GangState>;

export function newGang(iterations: number): GangState {
  return {
    generation: 0,
    hosts: [],
    committedIteration: 0,
    iterations,
    phase: 'waiting for hosts',
    note: '',
    warnings: [],
    pace: null,
    incidents: [],
    handovers: [],
  };
}

export function withIncident({ incidents }: GangState, incident: Incident): Change {
  return { incidents: [...incidents, incident].slice(-KEPT) };
}

/** A gang that moves because an operator wants a host: nobody's fault. What it had not saved in time counts as lost. */
export function movedBy(
  drain: { readonly host: string; readonly why: string; readonly at: number },
  { generation, committedIteration }: GangState,
  reachedIteration: number,
  now: number,
): Incident {
  return {
    ...{ at: drain.at, generation, host: drain.host, failure: 'Drained', message: drain.why },
    decision: `Moves the gang to other hosts; it goes on from iteration ${String(committedIteration)}.`,
    iterationsLost: Math.max(0, reachedIteration - committedIteration),
    secondsToDecide: (now - drain.at) / 1000,
  };
}

export function withHandover({ handovers }: GangState, handover: Handover): Change {
  return { handovers: [...handovers, handover].slice(-KEPT) };
}

/** Where the nodes of this generation have what they begin from; told of the incident that made them begin again. */
export function withRestored({ generation, incidents }: GangState, nodes: readonly Restored[]): Change {
  const last = incidents.at(-1);
  if (last === undefined || last.restored !== undefined || last.generation >= generation) return {};
  const sum = (bytes: (node: Restored) => number): number => nodes.reduce((total, node) => total + bytes(node), 0);
  const restored = {
    localBytes: sum(({ localBytes }) => localBytes),
    downloadedBytes: sum(({ downloadedBytes }) => downloadedBytes),
  };
  return { incidents: [...incidents.slice(0, -1), { ...last, restored }] };
}

/** What other hosts did not meet was the host's own. */
export function withBlame({ incidents }: GangState, generation: number, { host }: HostFault): Change {
  return {
    incidents: incidents.map((one) =>
      one.generation === generation
        ? { ...one, decision: `${one.decision} Other hosts got past it: ${host} is cordoned.` }
        : one,
    ),
  };
}

/** The trainers on these hosts are observed again, by an agent that says so or by the end that they came to. */
export function withHeard({ generation, handovers }: GangState, hosts: readonly string[]): Change {
  const isNews = (one: Handover): boolean => !one.isHeard && one.generation === generation && hosts.includes(one.who);
  return handovers.some(isNews)
    ? { handovers: handovers.map((one) => (isNews(one) ? { ...one, isHeard: true } : one)) }
    : {};
}

/** What the heartbeats said. `now` is the workflow's clock. */
export function withWords(gang: GangState, words: GangWords, now: number): Change {
  const { iteration, loss, secondsPerIteration, newIterationAt, adopted } = words;
  const pace = {
    at: now,
    iteration,
    ...(loss === undefined ? {} : { loss }),
    ...(secondsPerIteration === undefined ? {} : { secondsPerIteration }),
  };
  return { pace, ...withResumed(gang, newIterationAt), ...withHeard(gang, adopted) };
}

/** What earlier generations' ends have cost in time is known when this one gets further than they did. */
function withResumed({ generation, incidents }: GangState, newIterationAt: number | undefined): Change {
  if (newIterationAt === undefined) return {};
  // The host's clock against the workflow's: a difference that cannot be is left out.
  const isNews = ({ at, generation: broken, secondsToNewIteration }: Incident): boolean =>
    secondsToNewIteration === undefined && broken < generation && newIterationAt > at;
  return incidents.some(isNews)
    ? {
        incidents: incidents.map((one) =>
          isNews(one) ? { ...one, secondsToNewIteration: (newIterationAt - one.at) / 1000 } : one,
        ),
      }
    : {};
}

/** An activity that is tried again may bring news late. */
export function isOldNews(known: GangState, news: GangNews): boolean {
  return (
    news.generation < known.generation ||
    (news.generation === known.generation && news.committedIteration < known.committedIteration)
  );
}

/** What the nodes of a generation say, as one. Only the node that prints iterations has a pace; undefined when nobody was heard. */
export function joinWords(said: readonly TrainProgress[], generation: number): GangWords | undefined {
  const nodes = said.filter((progress) => progress.generation === generation);
  const [first] = nodes.toSorted(
    (a, b) =>
      Number(b.secondsPerIteration !== undefined) - Number(a.secondsPerIteration !== undefined) ||
      b.iteration - a.iteration,
  );
  if (first === undefined) return undefined;
  const { iteration, loss, secondsPerIteration, newIterationAt } = first;
  return {
    iteration,
    ...(loss === undefined ? {} : { loss }),
    ...(secondsPerIteration === undefined ? {} : { secondsPerIteration }),
    ...(newIterationAt === undefined ? {} : { newIterationAt }),
    adopted: nodes.flatMap(({ adopted, host }) => (adopted === true ? [host] : [])).slice(0, KEPT),
  };
}

/** The ranks of one generation: observed through restarts of their agents, and ended together when one of them ends badly. */
import { ApplicationFailure, CancellationScope, isCancellation, sleep } from '@temporalio/workflow';
import type { TrainRankResult } from '../contract/activities.js';
import { stacksSentence, suspect } from '../plan/probe.js';
import { isEcho, type NodeFailure } from '../plan/verdict.js';
import { onIo, onNpu } from './activities.js';
import { failureFacts, type FailureFacts } from './failure.js';
import { hostOf, throwBroken, type Generation } from './gang.js';
import { withHandover, withHeard, withWords } from '../contract/gang-story.js';
import { observeTrainer, STOP } from './options.js';
import { Probe, type Probed } from './probe.js';

/** Silence, and an agent that goes or comes: the trainer may well live, so the same work is scheduled again. What the pages say of it. */
const ATTACH_AGAIN: Readonly<Record<string, string>> = {
  Silent: 'its agent fell silent',
  NotPickedUp: 'its agent was away for a while',
  Detached: 'its agent lost the server for a while',
  WorkerShutdown: 'its agent was stopped',
  AgentRestarted: 'its agent was gone and is back',
  ActivityReset: 'its activity was reset',
  ActivityPause: 'its activity was paused',
};
/** An agent that keeps coming and going between two commits ends its generation; a training of months outlives any number of its upgrades. */
const ATTACHES = 20;
/** A trainer that was given up holds its host until its lease ends: 10 minutes by default, and a little more. */
const BUSY_WAIT = '15 seconds';
const BUSY_TURNS = 45;

/** torchrun needs seconds to tell how its rank died, and its agent up to ten more to ship the last save. */
const ROOT_LATE = '15 seconds';

/**
 * Ends when all ranks have. The first failure, of a rank or of the commits, stops the others, and no rank is left when it
 * throws. A cancelled run is different: each trainer gets its grace to save, and only then whatever is left is ended.
 */
export async function runRanks(gang: Generation, port: number, commits: Promise<void>): Promise<void> {
  const scope = new CancellationScope();
  const probe = new Probe(gang);
  const ranks = gang.leases.map((_, nodeRank) => scope.run(() => observeRank(gang, nodeRank, port, probe)));
  let commitFailure: readonly NodeFailure[] = [];
  const commitsFailed = commits.then(
    () => new Promise<never>(() => undefined),
    (error: unknown) => {
      // The commits have no host; node 0 names the saves, so its host stands for them.
      if (!isCancellation(error)) commitFailure = [{ host: hostOf(gang, 0), nodeRank: 0, ...failureFacts(error) }];
      throw error;
    },
  );
  try {
    await Promise.race([Promise.all(ranks), commitsFailed]);
  } catch (error) {
    const foundAt = Date.now();
    gang.view.show({ phase: 'stopping' });
    const { lost, hang } = CancellationScope.current().consideredCancelled
      ? NOTHING
      : await whatIsKnown(gang, probe, ranks, failureFacts(error));
    if (CancellationScope.current().consideredCancelled) await Promise.allSettled(ranks);
    const isBroken = !CancellationScope.current().consideredCancelled;
    const hasEvidence = await stopAll(gang, lost, isBroken);
    scope.cancel();
    // When the commits failed, the ends of the ranks are echoes of the stop: the root comes first. So does what is known of a hang.
    await throwBroken(gang, ranks, { first: [...commitFailure, ...hang], lost, foundAt, hasEvidence });
  }
}

interface Known {
  readonly lost: Probed['lost'];
  readonly hang: readonly NodeFailure[];
}
const NOTHING: Known = { lost: new Map(), hang: [] };

/**
 * After the first failure: whose host is lost, and which node keeps a gang waiting that hangs. Who loses a peer may be heard before that
 * peer, and a stop would wipe the peer's own report away: so what has ended is given a moment to report, before anybody is stopped.
 */
async function whatIsKnown(
  gang: Generation,
  probe: Probe,
  ranks: readonly Promise<unknown>[],
  first: FailureFacts,
): Promise<Known> {
  try {
    const hangs = first.type === 'Hung';
    const asked = first.type === 'HostLost' || first.type === 'AllSilent' ? probe.last : undefined;
    const { lost, looks } = asked ?? (hangs ? await probe.askWithStacks() : await probe.ask());
    if (lost.size > 0) return { ...NOTHING, lost };
    if (hangs) return { ...NOTHING, hang: [whoHangs(gang, looks, first)] };
    const hasEnded = looks.map((look) => look?.trainer === 'exited' || look?.trainer === 'lost');
    await reported(ranks, hasEnded, isEcho(first.type));
  } catch (error) {
    // Cancelled from outside: the caller sees to that.
    if (!isCancellation(error)) throw error;
  }
  return NOTHING;
}

/** The hang is the host's whose rank stands still by itself, if one can be told; else that of the node that would have told of progress. */
function whoHangs(gang: Generation, looks: Probed['looks'], { message, ...facts }: FailureFacts): NodeFailure {
  const seen = looks.flatMap((look, nodeRank) => (look?.ranks ?? []).map((rank) => ({ nodeRank, ...rank })));
  const nodeRank = suspect(seen) ?? gang.input.opening.reportingNode;
  return { host: hostOf(gang, nodeRank), nodeRank, ...facts, message: `${message} ${stacksSentence(seen)}` };
}

/** Until those whose trainers have ended say how; with `isEcho` until what explains it is heard, or all have ended. Bounded. */
async function reported(
  ranks: readonly Promise<unknown>[],
  hasEnded: readonly boolean[],
  isEchoOnly: boolean,
): Promise<void> {
  const root = new Promise<void>((resolve) => {
    for (const rank of ranks)
      rank.catch((error: unknown) => {
        if (!isEcho(failureFacts(error).type)) resolve();
      });
  });
  const ended = Promise.allSettled(ranks.filter((_, nodeRank) => hasEnded[nodeRank]));
  const all = isEchoOnly ? Promise.race([root, Promise.allSettled(ranks)]) : Promise.resolve();
  const timer = new CancellationScope();
  const late = timer.run(() => sleep(ROOT_LATE));
  late.catch(() => undefined);
  try {
    await Promise.race([Promise.all([ended, all]), late]);
  } finally {
    timer.cancel();
  }
}

/** One node's trainer from its launch to its end, through any number of restarts of its agent. */
async function observeRank(gang: Generation, nodeRank: number, port: number, probe: Probe): Promise<TrainRankResult> {
  const { runId, cluster, inputs, opening } = gang.input;
  const { generation, from } = gang;
  const lease = gang.leases[nodeRank];
  const master = gang.leases[0];
  if (lease === undefined || master === undefined)
    throw ApplicationFailure.nonRetryable('A gang without hosts was started.');
  const what = `train g${String(generation)} node ${String(nodeRank)}`;
  let isLaunch = true;
  let committed = gang.view.state.committedIteration;
  for (let attaches = 0, busy = 0; ;) {
    try {
      const options = observeTrainer(opening.timing, isLaunch);
      const result = await onNpu(cluster, lease.host.name, what, options).trainRank({
        ...{ runId, generation, nodeRank, fence: lease.fence, inputs },
        masterAddress: master.host.address,
        masterPort: port,
        resumeIteration: from?.iteration ?? 0,
        reachedIteration: gang.reached.before,
      });
      hearEnd(gang, lease.host.name, nodeRank, result);
      return result;
    } catch (error) {
      // What is over with the gang is not begun again: a host that is lost reports its silence long after.
      if (isCancellation(error) || CancellationScope.current().consideredCancelled) throw error;
      const { type } = failureFacts(error);
      if (type === 'HostBusy' && busy < BUSY_TURNS) {
        busy += 1;
        await sleep(BUSY_WAIT);
        continue;
      }
      if (type === 'NotPickedUp') {
        const lost = (await probe.ask()).lost.get(nodeRank);
        if (lost !== undefined) throw ApplicationFailure.nonRetryable(lost.message, lost.type, factsOf(lost));
      }
      const why = ATTACH_AGAIN[type];
      const { committedIteration } = gang.view.state;
      if (committedIteration > committed) attaches = 0;
      committed = committedIteration;
      if (why === undefined || attaches === ATTACHES) throw error;
      attaches += 1;
      isLaunch = false;
      const handover = { at: Date.now(), generation, who: lease.host.name, what: why, isHeard: false };
      gang.view.show(withHandover(gang.view.state, handover));
      gang.view.tell();
    }
  }
}

/** The end of a trainer tells how far it came, and that whoever observed it last had taken it over. */
function hearEnd({ view, input }: Generation, host: string, nodeRank: number, end: TrainRankResult): void {
  view.show(
    nodeRank === input.opening.reportingNode
      ? withWords(view.state, { ...end, adopted: [host] }, Date.now())
      : withHeard(view.state, [host]),
  );
}

/** As an activity's failure has them, so that both are read the same way. */
function factsOf({ iteration, since }: NodeFailure): { readonly iteration?: number; readonly at?: number } {
  return { ...(iteration === undefined ? {} : { iteration }), ...(since === undefined ? {} : { at: since }) };
}

/**
 * On every host that answers, whether its trainer lives or not: afterwards no process of this generation is left that can be reached. A
 * lost host is the pool's to take back. A rank that is stopped here does not get to say itself how far it came: its host does. Returns
 * whether any of them has evidence in the store.
 */
async function stopAll(gang: Generation, lost: Probed['lost'], isBroken: boolean): Promise<boolean> {
  const { runId, cluster } = gang.input;
  const { generation } = gang;
  const ends = await CancellationScope.nonCancellable(() =>
    Promise.allSettled(
      gang.leases.flatMap(({ host }, nodeRank) => {
        if (lost.has(nodeRank)) return [];
        const io = onIo(cluster, host.name, `stop g${String(generation)}`, STOP);
        return [io.stopTrainer({ runId, generation, nodeRank, isBroken })];
      }),
    ),
  );
  const said = ends.flatMap((end) => (end.status === 'fulfilled' ? [end.value] : []));
  for (const { iteration = 0 } of said) gang.reached.hear(iteration);
  return said.some(({ evidence = 0 }) => evidence > 0);
}

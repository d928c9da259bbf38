/** Gang after gang to the last iteration: a lost host or a dead rank ends one generation, and the next goes on from the last commit. */
import {
  ApplicationFailure,
  CancellationScope,
  defineQuery,
  isCancellation,
  setHandler,
  upsertSearchAttributes,
} from '@temporalio/workflow';
import type { CompleteSave } from '../contract/activities.js';
import { movedBy, withIncident } from '../contract/gang-story.js';
import {
  QUERIES,
  type GangState,
  type Incident,
  type TrainGangInput,
  type TrainGangResult,
} from '../contract/messages.js';
import { incidentFolder } from '../contract/store-keys.js';
import { seat } from '../plan/placement.js';
import {
  foldFact,
  foldRunLog,
  lastCommit,
  tooOld,
  type Commit,
  type Drop,
  type RunFact,
  type RunLog,
} from '../plan/run-log.js';
import { judge, rootCause } from '../plan/verdict.js';
import { control, onControlWorker, verifying } from './activities.js';
import { whileDeleting } from './deletes.js';
import { Divergences } from './divergences.js';
import { inGroup } from './event-group.js';
import { GangBroken, HostDrained } from './gang.js';
import { GangPause } from './gang-pause.js';
import { GangView } from './gang-view.js';
import { runGeneration } from './generation.js';
import { withHosts } from './lease.js';
import { keepingRecord } from './loss-record.js';
import { searchAttribute } from './search-attributes.js';

const gangQuery = defineQuery<GangState>(QUERIES.gang);

export function trainGang(input: TrainGangInput): Promise<TrainGangResult> {
  return inGroup('stage train', () => keepingRecord(input, () => whileDeleting(input, () => trainToTheEnd(input))));
}

async function trainToTheEnd(input: TrainGangInput): Promise<TrainGangResult> {
  const { runId, cluster, opening, stageKey, goesOnFrom } = input;
  const view = new GangView(runId, opening.iterations);
  setHandler(gangQuery, () => view.state);
  const pause = new GangPause();

  let log: RunLog = foldRunLog(await control(cluster, 'what this run has committed').readRunLog({ runId }));
  let reachedIteration = lastCommit(log)?.iteration ?? 0;
  view.show({ generation: log.generation, committedIteration: reachedIteration });
  /** What belongs together goes together: a commit and what is too old by it are one event, and news that the run hears with it. */
  const append = async (...facts: readonly RunFact[]): Promise<void> => {
    const number = log.nextNumber;
    const next = facts.reduce(foldFact, log);
    // Never cut: what stands in the store must stand in our log, or the next fact would meet its number.
    await CancellationScope.nonCancellable(() =>
      view.carry({ committedIteration: lastCommit(next)?.iteration ?? 0 }, (news) =>
        onControlWorker().appendRunFacts({ runId, number, facts, news }),
      ),
    );
    log = next;
  };
  const dropOf = ({ generation, iteration }: Commit, reason: Drop['reason'], why: string): RunFact => ({
    ...{ fact: 'drop', generation, iteration, reason, why },
  });
  const keep = opening.keepCheckpoints;
  const divergences = new Divergences(input, view);
  const commit = async ({ iteration, checkpoint }: CompleteSave, generation: number): Promise<void> => {
    const fact: RunFact = { fact: 'commit', generation, iteration, checkpoint };
    const old = tooOld(foldFact(log, fact), keep);
    await append(fact, ...old.map((one) => dropOf(one, 'too old', `Only the last ${String(keep)} are kept.`)));
    await divergences.committed(iteration, log.hosts);
  };
  let incidents = 0;
  const remember = async (incident: Incident): Promise<void> => {
    incidents += 1;
    view.show(withIncident(view.state, incident));
    await view.tell();
  };

  // A run that retries another one has that one's commit as its first; from then on its log is as any other.
  if (goesOnFrom !== undefined && log.nextNumber === 1) await append({ fact: 'commit', ...goesOnFrom, generation: 0 });

  // A training that was complete before is asked for again because its checkpoint may be damaged; the one before may be whole.
  for (let last = lastCommit(log); last !== undefined && last.iteration >= opening.iterations; last = lastCommit(log)) {
    const { findDamage } = verifying(cluster, `is iteration ${String(last.iteration)} whole?`);
    const why = await findDamage({ fileSet: last.checkpoint });
    if (why === null) break;
    await append(dropOf(last, 'damaged', why));
    const iterationsLost = last.iteration - (lastCommit(log)?.iteration ?? 0);
    const decision = `Drops this commit, and trains ${String(iterationsLost)} iterations again.`;
    await remember({
      ...{ at: Date.now(), generation: last.generation, host: 'the store', failure: 'CheckpointDamaged', message: why },
      ...{ decision, iterationsLost },
    });
  }
  // Bounded by the verdict: restarts that gain no commit are counted and few.
  let restartsWithoutProgress = 0;
  /** The last generation that was asked for; one that was paused before it began leaves no trace in the log. */
  let asked = 0;
  for (;;) {
    const from = lastCommit(log);
    if (from !== undefined && from.iteration >= opening.iterations) {
      view.show({ phase: 'done', generation: from.generation });
      await view.tell();
      return {
        artifacts: { checkpoint: from.checkpoint },
        facts: { iteration: from.iteration, generation: from.generation, incidents },
      };
    }
    await pause.over(view);
    reachedIteration = Math.max(reachedIteration, from?.iteration ?? 0);
    const generation = Math.max(log.generation, asked) + 1;
    asked = generation;
    const group = <Result>(work: () => Promise<Result>): Promise<Result> =>
      inGroup(`generation ${String(generation)}`, work);
    view.show({ generation, hosts: [], phase: 'waiting for hosts', pace: null });
    try {
      await pause.unlessPaused(() =>
        group(() =>
          withHosts(
            {
              cluster,
              generation,
              hosts: opening.hosts,
              npusPerHost: opening.npusPerHost,
              runtime: opening.runtime,
              hasBegun: log.generation > 0,
              ...(opening.priority && { priority: opening.priority }),
              prefer: log.hosts,
              avoid: divergences.suspects,
              onWaiting: (note) => {
                view.show({ note });
                void group(() => view.tell());
              },
            },
            async ({ owner, leases: granted }) => {
              const leases = seat(granted, log.hosts);
              const hosts = leases.map(({ host }) => host.name);
              view.show({ hosts, note: '' });
              await append({
                ...{ fact: 'open', generation, fromIteration: from?.iteration ?? 0, hosts },
                ...(stageKey === undefined ? {} : { stageKey }),
              });
              upsertSearchAttributes([
                searchAttribute('AnnealGeneration', generation),
                searchAttribute('AnnealHosts', hosts),
              ]);
              await runGeneration({
                ...{ input, generation, owner, leases, from, reachedIteration, view },
                checkFinite: divergences.isOpen,
                commit: (save) => commit(save, generation),
                heard: (iteration) => {
                  reachedIteration = Math.max(reachedIteration, iteration);
                },
              });
            },
          ),
        ),
      );
    } catch (error) {
      if (error instanceof HostDrained) {
        await remember(
          movedBy(
            { host: error.drain.host, why: error.message, at: error.at },
            view.state,
            reachedIteration,
            Date.now(),
          ),
        );
        continue;
      }
      if (isCancellation(error) || !(error instanceof GangBroken)) throw error;
      const root = rootCause(error.failures);
      if (root === undefined) throw error;
      const gained = (lastCommit(log)?.iteration ?? 0) > (from?.iteration ?? 0);
      const back =
        gained || from === undefined ? undefined : { from: from.iteration, to: log.commits.at(-2)?.iteration ?? 0 };
      const verdict =
        divergences.judge(root, log, error.reachedIteration) ??
        judge(root, gained ? 0 : restartsWithoutProgress + 1, back);
      // Bounded: every step back drops a commit, and there are finitely many; or it is paid for by progress. It is no restart.
      if (verdict.decision === 'before the bad iteration')
        for (const one of verdict.drop) await append(dropOf(one, 'damaged', root.message));
      else if (verdict.decision === 'one commit back' && from !== undefined)
        await append(dropOf(from, 'damaged', root.message));
      else restartsWithoutProgress = gained ? 0 : restartsWithoutProgress + 1;
      reachedIteration = Math.max(reachedIteration, error.reachedIteration);
      // Of an echo alone, or a host that nobody heard, the first of all is as near as anybody can tell.
      const since = root.since ?? Math.min(...error.failures.flatMap((one) => one.since ?? []));
      // Who reports a loss that is no number is not always where it began.
      const host = (root.type === 'LossDiverged' ? divergences.suspects[0] : undefined) ?? root.host;
      await remember({
        ...{ at: error.foundAt, generation, host, failure: root.type },
        message: root.message,
        ...(error.hasEvidence ? { evidence: incidentFolder(runId, generation) } : {}),
        ...(since <= error.foundAt ? { secondsToDetect: (error.foundAt - since) / 1000 } : {}),
        secondsToDecide: (Date.now() - error.foundAt) / 1000,
        decision: verdict.why,
        iterationsLost: Math.max(0, error.reachedIteration - (lastCommit(log)?.iteration ?? 0)),
      });
      if (verdict.decision === 'give up')
        throw ApplicationFailure.nonRetryable(verdict.why, verdict.type, view.state.incidents.slice(-10));
    }
  }
}

/** Gang after gang to the last iteration: a lost host or a dead rank ends one generation, and the next goes on from the last commit. */
import {
  ApplicationFailure,
  defineQuery,
  defineSignal,
  getExternalWorkflowHandle,
  isCancellation,
  setCurrentDetails,
  setHandler,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { CompleteSave } from '../contract/activities.js';
import {
  QUERIES,
  SIGNALS,
  type GangMoved,
  type GangState,
  type Incident,
  type TrainGangInput,
  type TrainGangResult,
} from '../contract/messages.js';
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
import { committing, control, verifying } from './activities.js';
import { whileDeleting } from './deletes.js';
import { GangBroken } from './gang.js';
import { runGeneration } from './generation.js';
import { withHosts } from './lease.js';
import { keepingRecord } from './loss-record.js';
import { searchAttribute } from './search-attributes.js';
import { gangDetails } from './view.js';

const gangQuery = defineQuery<GangState>(QUERIES.gang);
const gangMoved = defineSignal<[GangMoved]>(SIGNALS.gangMoved);

export function trainGang(input: TrainGangInput): Promise<TrainGangResult> {
  return keepingRecord(input, () => whileDeleting(input, () => trainToTheEnd(input)));
}

async function trainToTheEnd(input: TrainGangInput): Promise<TrainGangResult> {
  const { runId, cluster, opening } = input;
  let gang: GangState = {
    generation: 0,
    hosts: [],
    committedIteration: 0,
    iterations: opening.iterations,
    phase: 'waiting for hosts',
    incidents: [],
  };
  const show = (change: Partial<GangState>): void => {
    gang = { ...gang, ...change };
    setCurrentDetails(gangDetails(gang));
  };
  setHandler(gangQuery, () => gang);

  let log: RunLog = foldRunLog(await control(cluster, 'what this run has committed').readRunLog({ runId }));
  const append = async (fact: RunFact): Promise<void> => {
    await committing().appendRunFact({ runId, number: log.nextNumber, fact });
    log = foldFact(log, fact);
    const committedIteration = lastCommit(log)?.iteration ?? 0;
    if (committedIteration === gang.committedIteration) return;
    show({ committedIteration });
    upsertSearchAttributes([searchAttribute('AnnealIteration', committedIteration)]);
  };
  const drop = ({ generation, iteration }: Commit, reason: Drop['reason'], why: string): Promise<void> =>
    append({ fact: 'drop', generation, iteration, reason, why });
  const keep = opening.keepCheckpoints;
  const commit = async (save: CompleteSave, generation: number): Promise<void> => {
    await append({ fact: 'commit', generation, iteration: save.iteration, checkpoint: save.checkpoint });
    for (const old of tooOld(log, keep)) await drop(old, 'too old', `Only the last ${String(keep)} are kept.`);
  };
  const remember = (incident: Omit<Incident, 'at'>): void =>
    show({ incidents: [...gang.incidents, { at: Date.now(), ...incident }] });

  // A training that was complete before is asked for again because its checkpoint may be damaged; the one before may be whole.
  for (let last = lastCommit(log); last !== undefined && last.iteration >= opening.iterations; last = lastCommit(log)) {
    const { findDamage } = verifying(cluster, `is iteration ${String(last.iteration)} whole?`);
    const why = await findDamage({ fileSet: last.checkpoint });
    if (why === null) break;
    await drop(last, 'damaged', why);
    const iterationsLost = last.iteration - (lastCommit(log)?.iteration ?? 0);
    const decision = `Drops this commit, and trains ${String(iterationsLost)} iterations again.`;
    remember({
      ...{ generation: last.generation, host: 'the store', failure: 'CheckpointDamaged', message: why },
      ...{ decision, iterationsLost },
    });
  }
  // Bounded by the verdict: restarts that gain no commit are counted and few.
  let restartsWithoutProgress = 0;
  for (;;) {
    const from = lastCommit(log);
    if (from !== undefined && from.iteration >= opening.iterations) {
      show({ phase: 'done' });
      await tellParent({
        note: `generation ${String(from.generation)}, iteration ${String(from.iteration)}`,
        ...{ hosts: gang.hosts, generation: from.generation, iteration: from.iteration },
      });
      return {
        artifacts: { checkpoint: from.checkpoint },
        facts: { iteration: from.iteration, generation: from.generation, incidents: gang.incidents.length },
      };
    }
    const generation = log.generation + 1;
    show({ generation, hosts: [], phase: 'waiting for hosts' });
    try {
      await withHosts(
        {
          cluster,
          generation,
          hosts: opening.hosts,
          npusPerHost: opening.npusPerHost,
          runtime: opening.runtime,
          onWaiting: (reason) =>
            void tellParent({ note: reason, hosts: [], generation, iteration: gang.committedIteration }),
        },
        async ({ leases }) => {
          const hosts = leases.map(({ host }) => host.name);
          show({ hosts });
          await append({ fact: 'open', generation, fromIteration: from?.iteration ?? 0, hosts });
          upsertSearchAttributes([
            searchAttribute('AnnealGeneration', generation),
            searchAttribute('AnnealHosts', hosts),
          ]);
          await tellParent({
            note: `generation ${String(generation)}`,
            hosts,
            generation,
            iteration: from?.iteration ?? 0,
          });
          await runGeneration({
            ...{ input, generation, leases, from, show },
            commit: (save) => commit(save, generation),
          });
        },
      );
    } catch (error) {
      if (isCancellation(error) || !(error instanceof GangBroken)) throw error;
      const root = rootCause(error.failures);
      if (root === undefined) throw error;
      const gained = (lastCommit(log)?.iteration ?? 0) > (from?.iteration ?? 0);
      const back =
        gained || from === undefined ? undefined : { from: from.iteration, to: log.commits.at(-2)?.iteration ?? 0 };
      const verdict = judge(root, gained ? 0 : restartsWithoutProgress + 1, back);
      // Bounded: every step back drops a commit, and there are finitely many. It says nothing of hosts, so it is no restart.
      if (verdict.decision === 'one commit back' && from !== undefined) await drop(from, 'damaged', root.message);
      else restartsWithoutProgress = gained ? 0 : restartsWithoutProgress + 1;
      remember({
        ...{ generation, host: root.host, failure: root.type, message: root.message, decision: verdict.why },
        iterationsLost: Math.max(0, error.reachedIteration - (lastCommit(log)?.iteration ?? 0)),
      });
      if (verdict.decision === 'give up')
        throw ApplicationFailure.nonRetryable(verdict.why, verdict.type, gang.incidents.slice(-10));
    }
  }

  /** A parent that is gone needs no news. */
  async function tellParent(moved: GangMoved): Promise<void> {
    const { parent } = workflowInfo();
    if (parent === undefined) return;
    await getExternalWorkflowHandle(parent.workflowId)
      .signal(gangMoved, moved)
      .catch(() => undefined);
  }
}

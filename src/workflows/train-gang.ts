/** Gang after gang to the last iteration: a lost host or a dead rank ends one generation, and the next goes on from the last commit. */
import { defineQuery, setHandler, upsertSearchAttributes } from '@temporalio/workflow';
import { QUERIES, type GangState, type TrainGangInput, type TrainGangResult } from '../contract/messages.js';
import type { HostGrant } from '../plan/hosts.js';
import { seat } from '../plan/placement.js';
import type { Commit } from '../plan/run-log.js';
import { whileDeleting } from './deletes.js';
import { Divergences } from './divergences.js';
import { inGroup } from './event-group.js';
import { Reached } from './gang.js';
import { GangLog } from './gang-log.js';
import { GangPause } from './gang-pause.js';
import { GangView } from './gang-view.js';
import { runGeneration } from './generation.js';
import { withHosts } from './lease.js';
import { keepingRecord } from './loss-record.js';
import { isEnd, Recovery, type Recovering } from './recovery.js';
import { searchAttribute } from './search-attributes.js';

const gangQuery = defineQuery<GangState>(QUERIES.gang);

/** One generation that is about to be asked for. */
interface Next {
  readonly generation: number;
  /** Where it goes on from; undefined: from the converted model. */
  readonly from: Commit | undefined;
  /** Hosts that are taken only where no others are free. */
  readonly avoid: readonly string[];
}

export function trainGang(input: TrainGangInput): Promise<TrainGangResult> {
  const view = new GangView(input);
  return inGroup('stage train', () =>
    keepingRecord(input, view, () => whileDeleting(input, () => trainToTheEnd(input, view))),
  );
}

async function trainToTheEnd(input: TrainGangInput, view: GangView): Promise<TrainGangResult> {
  setHandler(gangQuery, () => view.state);
  const pause = new GangPause();
  const log = await GangLog.read(input, view);
  view.show({ generation: log.now.generation, committedIteration: log.committedIteration });
  const reached = new Reached(log.committedIteration);
  const divergences = new Divergences(input, view);
  const training = { input, view, log, divergences, reached, ports: new Set<number>() };
  const recovery = new Recovery(training);

  // A run that retries another one has that one's commit as its first; from then on its log is as any other.
  if (input.goesOnFrom !== undefined && log.isEmpty)
    await log.append({ fact: 'commit', ...input.goesOnFrom, generation: 0 });
  await recovery.dropDamagedEnd();

  /** The last generation that was asked for; one that was paused before it began leaves no trace in the log. */
  let asked = 0;
  // Bounded by the recovery's verdicts.
  for (;;) {
    const from = log.lastCommit;
    if (from !== undefined && isEnd(from, input)) {
      view.show({ phase: 'done', generation: from.generation });
      view.tell();
      const { iteration, generation, checkpoint } = from;
      return { artifacts: { checkpoint }, facts: { iteration, generation, incidents: recovery.incidents } };
    }
    await pause.over(view);
    asked = Math.max(log.now.generation, asked) + 1;
    const avoid = [...divergences.suspects, ...recovery.unfitHosts];
    const next = { generation: asked, from, avoid };
    reached.begin(from?.iteration ?? 0);
    view.show({ generation: asked, hosts: [], phase: 'waiting for hosts', warnings: [], pace: null });
    try {
      await pause.unlessPaused(() => borrowAndTrain(training, next));
    } catch (error) {
      await recovery.after(error, next);
    }
  }
}

/** One generation, on hosts of its own for as long as it lasts. */
async function borrowAndTrain(training: Recovering, next: Next): Promise<void> {
  const { input, view, log } = training;
  const { cluster, opening } = input;
  const { hosts, npusPerHost, runtime, priority } = opening;
  const { generation, avoid } = next;
  await inGroup(`generation ${String(generation)}`, () =>
    withHosts(
      {
        ...{ cluster, generation, hosts, npusPerHost, runtime },
        hasBegun: log.now.generation > 0,
        ...(priority && { priority }),
        prefer: log.now.hosts,
        avoid,
        onWaiting: (note) => {
          view.show({ note });
          view.tell();
        },
      },
      (grant) => openAndTrain(training, next, grant),
    ),
  );
}

/** The generation is its `open` fact: from then on it exists, whatever becomes of it. */
async function openAndTrain(training: Recovering, next: Next, { owner, leases: granted }: HostGrant): Promise<void> {
  const { input, view, log, divergences, reached, ports } = training;
  const { opening, stageKey } = input;
  const { generation, from } = next;
  const leases = seat(granted, log.now.hosts);
  const hosts = leases.map(({ host }) => host.name);
  view.show({ hosts, note: '' });
  await log.append({
    ...{ fact: 'open', generation, fromIteration: from?.iteration ?? 0, hosts },
    ...(stageKey === undefined ? {} : { stageKey }),
  });
  upsertSearchAttributes([searchAttribute('AnnealGeneration', generation), searchAttribute('AnnealHosts', hosts)]);
  await runGeneration({
    ...{ input, generation, owner, leases, from, reached, ports, view },
    checkFinite: divergences.isOpen,
    commit: async (save) => {
      await log.commit(save, generation, opening.keepCheckpoints);
      await divergences.committed(save.iteration, log.now.hosts);
    },
  });
}

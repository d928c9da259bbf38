/** What a watcher is told of a run, and the pure step from one look at it to the next. */
import type { StageProgress, TrainProgress } from '../contract/activities.js';
import type { GangState, Handover, Incident, RunState, StageState } from '../contract/messages.js';
import type { StageName } from '../plan/plan.js';

interface StageEvent {
  readonly stage: StageName;
  readonly hosts: readonly string[];
  readonly note: string;
}

export type RunEvent =
  | ({ readonly type: 'stage-started' } & StageEvent)
  | ({ readonly type: 'stage-done'; readonly seconds: number } & StageEvent)
  | ({ readonly type: 'stage-reused' } & StageEvent)
  | ({ readonly type: 'stage-failed' } & StageEvent)
  | ({ readonly type: 'stage-stopped' } & StageEvent)
  | {
      readonly type: 'progress';
      readonly stage: StageName;
      readonly host: string;
      /** A trainer's iteration, or the bytes, files or rows of a shorter stage. */
      readonly done?: number;
      readonly total?: number;
      readonly loss?: number;
      /** Of `done`, as it went in the last while. */
      readonly perSecond?: number;
      readonly etaSeconds?: number;
      /** These two are of the gang. */
      readonly generation?: number;
      readonly hosts?: readonly string[];
      readonly message: string;
    }
  | ({ readonly type: 'incident' } & Incident)
  /** The first iteration that no generation had reached before an incident. */
  | ({ readonly type: 'recovered'; readonly secondsToNewIteration: number } & Incident)
  /** Told when the work is asked for again, and once more when the successor is heard. */
  | ({ readonly type: 'handover' } & Handover)
  /** Where the training of a run that retries another one begins, and why. */
  | { readonly type: 'retry'; readonly of: string; readonly note: string }
  | { readonly type: 'waiting'; readonly for: string }
  | {
      readonly type: 'outcome';
      readonly outcome: RunState['outcome'];
      readonly message: string;
    };

/** One look at a run: the answers of its workflows, and what the running activities last said. */
export interface Snapshot {
  readonly state: RunState;
  readonly gang?: GangState;
  readonly training?: TrainProgress;
  /** Of the shorter stages that run at this moment. */
  readonly stages: Readonly<Partial<Record<StageName, StageProgress>>>;
}

/** What happened between two looks, oldest first; without a first look, everything that the run has been through. */
export function eventsBetween(before: Snapshot | undefined, now: Snapshot): readonly RunEvent[] {
  const after = remember(before, now);
  const stages = after.state.stages.flatMap((stage) =>
    stageEvents(
      before?.state.stages.find((one) => one.stage === stage.stage),
      stage,
    ),
  );
  return [
    ...stages,
    ...retryEvents(before, after),
    ...auditEvents(before?.gang, after.gang),
    ...waitingEvents(before, after),
    ...progressEvents(before, after),
  ];
}

/**
 * What the next look is compared with. Only one node knows the iteration; while it is not heard (its agent restarts), another
 * node's older number must not look like a roll-back.
 */
export function remember(before: Snapshot | undefined, after: Snapshot): Snapshot {
  const [known, heard] = [before?.training, after.training];
  if (known === undefined) return after;
  const isOlder = heard === undefined || (heard.generation === known.generation && heard.iteration < known.iteration);
  return isOlder ? { ...after, training: known } : after;
}

function stageEvents(before: StageState | undefined, after: StageState): readonly RunEvent[] {
  if (before?.status === after.status) return [];
  const { stage, hosts, note } = after;
  const began: RunEvent[] = before?.status === 'running' ? [] : [{ type: 'stage-started', stage, hosts, note: '' }];
  switch (after.status) {
    case 'waiting':
      return [];
    case 'running':
      return [{ type: 'stage-started', stage, hosts, note }];
    case 'done':
      return [...began, { type: 'stage-done', stage, hosts, note, seconds: stageSeconds(after) ?? 0 }];
    case 'reused':
      return [{ type: 'stage-reused', stage, hosts, note }];
    case 'failed':
      return [...began, { type: 'stage-failed', stage, hosts, note }];
    case 'stopped':
      return [...began, { type: 'stage-stopped', stage, hosts, note }];
  }
}

function retryEvents(before: Snapshot | undefined, { state: { retry } }: Snapshot): readonly RunEvent[] {
  return retry === undefined || retry.note === (before?.state.retry?.note ?? '') ? [] : [{ type: 'retry', ...retry }];
}

/** Each is known by its moment and place, since the lists are cut at their beginning. */
function auditEvents(before: GangState | undefined, after: GangState | undefined): readonly RunEvent[] {
  const incidents = (after?.incidents ?? []).flatMap((incident): readonly RunEvent[] => {
    const known = before?.incidents.find(
      ({ at, generation }) => at === incident.at && generation === incident.generation,
    );
    const { secondsToNewIteration } = incident;
    return [
      ...(known === undefined ? [{ type: 'incident', ...incident } as const] : []),
      ...(secondsToNewIteration === undefined || known?.secondsToNewIteration !== undefined
        ? []
        : [{ type: 'recovered', ...incident, secondsToNewIteration } as const]),
    ];
  });
  const handovers = (after?.handovers ?? []).flatMap((handover): readonly RunEvent[] => {
    const known = before?.handovers.find(({ at, who }) => at === handover.at && who === handover.who);
    return known?.isHeard === handover.isHeard ? [] : [{ type: 'handover', ...handover }];
  });
  return [...incidents, ...handovers].toSorted((a, b) => momentOf(a) - momentOf(b));
}

function momentOf(event: RunEvent): number {
  if (event.type === 'recovered') return event.at + event.secondsToNewIteration * 1000;
  return 'at' in event ? event.at : 0;
}

/** How long a stage took; undefined while it runs or when it never ran. */
export function stageSeconds({ startedAt, endedAt }: StageState): number | undefined {
  return startedAt === undefined || endedAt === undefined ? undefined : (endedAt - startedAt) / 1000;
}

function waitingEvents(before: Snapshot | undefined, after: Snapshot): readonly RunEvent[] {
  const reason = waitReason(after);
  return reason === undefined || reason === (before && waitReason(before)) ? [] : [{ type: 'waiting', for: reason }];
}

function waitReason({ state, gang }: Snapshot): string | undefined {
  if (state.outcome !== 'running') return undefined;
  const waiting = state.stages.find(({ status, note }) => status === 'waiting' && note !== '');
  if (waiting !== undefined) return `${waiting.stage}: ${waiting.note}`;
  if (gang?.phase === 'paused') return `train: ${gang.note}`;
  if (gang?.phase !== 'waiting for hosts') return undefined;
  const note = state.stages.find(({ stage }) => stage === 'train')?.note ?? '';
  return `train: ${note === '' ? 'hosts' : note}`;
}

function progressEvents(before: Snapshot | undefined, after: Snapshot): readonly RunEvent[] {
  if (after.state.outcome !== 'running') return [];
  return after.state.stages.flatMap(({ stage, status }): readonly RunEvent[] => {
    if (status !== 'running') return [];
    if (stage === 'train' && after.training !== undefined)
      return trainingEvents(before?.training, after.training, after.gang);
    const heard = after.stages[stage];
    const isNew = heard !== undefined && JSON.stringify(heard) !== JSON.stringify(before?.stages[stage]);
    return isNew ? [{ type: 'progress', stage, ...heard }] : [];
  });
}

function trainingEvents(
  before: TrainProgress | undefined,
  after: TrainProgress,
  gang: GangState | undefined,
): readonly RunEvent[] {
  const { host, iteration, iterations, loss, phase, generation, secondsPerIteration } = after;
  if (before?.iteration === iteration && before.phase === phase && before.generation === generation) return [];
  return [
    {
      ...{ type: 'progress', stage: 'train', host, done: iteration, total: iterations, generation, message: phase },
      ...(loss === undefined ? {} : { loss }),
      ...(secondsPerIteration === undefined ? {} : { perSecond: 1 / secondsPerIteration }),
      ...(gang === undefined ? {} : { hosts: gang.hosts }),
    },
  ];
}

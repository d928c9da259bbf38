/** The run's state, kept in one place: for queries, for its page in the Temporal UI and for its search attributes. */
import { ApplicationFailure, isCancellation, setCurrentDetails } from '@temporalio/workflow';
import type { GangNews } from '../contract/gang.js';
import type { FineTuneInput, RunState, StageState } from '../contract/messages.js';
import { STAGE_NAMES, type StageName } from '../plan/plan.js';
import { failureFacts } from './failure.js';
import { inGroup } from './event-group.js';
import { isOldNews, newGang } from '../contract/gang-story.js';
import { sayStopped, type Requests } from '../plan/run-requests.js';
import { runPage } from './run-page.js';
import { CurrentAttributes } from './search-attributes.js';

export class RunView {
  state: RunState;
  /** Stages that made anything anew: fetch brings two things, and counts as reused only if both were. */
  private readonly anew = new Set<StageName>();
  private readonly attributes = new CurrentAttributes();

  constructor({ runId, cluster, spec, retries }: FineTuneInput) {
    const stages = STAGE_NAMES.map((stage): StageState => ({ stage, status: 'waiting', hosts: [], note: '' }));
    this.state = { runId, name: spec.name, cluster, stages, iterations: spec.training.iterations, outcome: 'running' };
    if (retries !== undefined) this.retries(retries, '');
    // Whoever started the run may have left them out: a schedule, the Temporal UI.
    this.attributes.set({
      AnnealRun: runId,
      AnnealName: spec.name,
      AnnealModel: spec.publish.model,
      AnnealCluster: cluster,
    });
    this.render();
  }

  begin(iterations: number): void {
    this.state = { ...this.state, iterations };
  }

  async during(stage: StageName, work: () => Promise<void>): Promise<void> {
    this.show(stage, { status: 'running', startedAt: Date.now() });
    this.attributes.set({ AnnealStage: stage });
    try {
      await inGroup(`stage ${stage}`, work);
      const { status } = this.stageOf(stage);
      this.show(stage, { status: status === 'running' ? 'done' : status, endedAt: Date.now() });
    } catch (error) {
      const { stopped } = this.state;
      const end = isCancellation(error)
        ? { status: 'stopped' as const, note: stopped === undefined ? '' : sayStopped(stopped) }
        : { status: 'failed' as const, note: failureFacts(error).message.slice(0, 300) };
      this.show(stage, { ...end, endedAt: Date.now() });
      throw error;
    }
  }

  reused(stage: StageName, fromRun: string): void {
    if (!this.anew.has(stage)) this.show(stage, { status: 'reused', madeBy: fromRun, note: `made by run ${fromRun}` });
  }

  /** `rejected` says why an earlier result was not believed, if there was one. */
  made(stage: StageName, rejected: string): void {
    this.anew.add(stage);
    this.show(stage, { status: 'running', note: rejected });
  }

  show(stage: StageName, change: Partial<StageState>): void {
    const stages = this.state.stages.map((state) => (state.stage === stage ? { ...state, ...change } : state));
    this.state = { ...this.state, stages };
    this.render();
  }

  /** On which host a stage runs. */
  on(stage: StageName, host: string): void {
    this.show(stage, { hosts: [host] });
    this.attributes.set({ AnnealHosts: [host] });
  }

  /** Word from the gang: where it is, why it waits, what happened to it. */
  gangMoved(news: GangNews): void {
    const known = this.state.gang ?? newGang(this.state.iterations);
    if (isOldNews(known, news)) return;
    const gang = { ...known, ...news };
    const { generation, hosts, phase, note, committedIteration } = gang;
    this.state = { ...this.state, gang };
    const done = phase === 'done' ? `, iteration ${String(committedIteration)}` : '';
    this.show('train', { hosts, note: note === '' ? `generation ${String(generation)}${done}` : note });
    const failures = [...new Set(gang.incidents.map(({ failure }) => failure))];
    this.attributes.set({
      ...{ AnnealHosts: hosts, AnnealGeneration: generation, AnnealIteration: committedIteration },
      ...(failures.length === 0 ? {} : { AnnealFailures: failures }),
    });
  }

  retries(of: string, note: string): void {
    this.state = { ...this.state, retry: { of, note } };
    this.render();
  }

  /** What people have asked of the run, as it holds from now on; a list shows a pause as it shows an outcome. */
  asked({ paused, stopped }: Requests): void {
    const { paused: _, ...rest } = this.state;
    this.state = { ...rest, ...(paused && { paused }), ...(stopped && { stopped }) };
    this.attributes.set({ AnnealOutcome: paused === undefined ? 'running' : 'paused' });
    this.render();
  }

  end(outcome: RunState['outcome']): void {
    const { paused: _, ...rest } = this.state;
    this.state = { ...rest, outcome };
    this.attributes.set({ AnnealOutcome: outcome });
    this.render();
  }

  private render(): void {
    setCurrentDetails(runPage(this.state, Date.now()));
  }

  private stageOf(stage: StageName): StageState {
    const state = this.state.stages.find((one) => one.stage === stage);
    if (state === undefined) throw ApplicationFailure.nonRetryable(`There is no stage "${stage}".`);
    return state;
  }
}

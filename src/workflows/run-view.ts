/** The run's state, kept in one place: for queries, for its page in the Temporal UI and for its search attributes. */
import { ApplicationFailure, setCurrentDetails, upsertSearchAttributes } from '@temporalio/workflow';
import type { FineTuneInput, GangMoved, RunState, StageState } from '../contract/messages.js';
import { STAGE_NAMES, type StageName } from '../plan/plan.js';
import { failureFacts } from './failure.js';
import { searchAttribute } from './search-attributes.js';
import { runDetails } from './view.js';

export class RunView {
  state: RunState;
  /** Stages that made anything anew: fetch brings two things, and counts as reused only if both were. */
  private readonly anew = new Set<StageName>();

  constructor({ runId, cluster, spec }: FineTuneInput) {
    const stages = STAGE_NAMES.map((stage): StageState => ({ stage, status: 'waiting', hosts: [], note: '' }));
    this.state = { runId, name: spec.name, cluster, stages, iterations: spec.training.iterations, outcome: 'running' };
    setCurrentDetails(runDetails(this.state));
  }

  begin(iterations: number): void {
    this.state = { ...this.state, iterations };
  }

  async during(stage: StageName, work: () => Promise<void>): Promise<void> {
    this.show(stage, { status: 'running', startedAt: Date.now() });
    upsertSearchAttributes([searchAttribute('AnnealStage', stage)]);
    try {
      await work();
      const { status } = this.stageOf(stage);
      this.show(stage, { status: status === 'running' ? 'done' : status, endedAt: Date.now() });
    } catch (error) {
      this.show(stage, { status: 'failed', endedAt: Date.now(), note: failureFacts(error).message.slice(0, 300) });
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
    setCurrentDetails(runDetails(this.state));
  }

  /** Word from the gang: where it is, or why it waits. */
  gangMoved({ note, hosts, generation, iteration }: GangMoved): void {
    this.show('train', { note, hosts });
    upsertSearchAttributes([
      searchAttribute('AnnealHosts', hosts),
      searchAttribute('AnnealGeneration', generation),
      searchAttribute('AnnealIteration', iteration),
    ]);
  }

  end(outcome: RunState['outcome']): void {
    this.state = { ...this.state, outcome };
    upsertSearchAttributes([searchAttribute('AnnealOutcome', outcome)]);
    setCurrentDetails(runDetails(this.state));
  }

  private stageOf(stage: StageName): StageState {
    const state = this.state.stages.find((one) => one.stage === stage);
    if (state === undefined) throw ApplicationFailure.nonRetryable(`There is no stage "${stage}".`);
    return state;
  }
}

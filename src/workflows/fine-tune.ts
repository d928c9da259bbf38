/** The chain of one run: per stage a key, a look for a resume point, then skip or run and record. */
import {
  ApplicationFailure,
  CancellationScope,
  defineQuery,
  defineSignal,
  isCancellation,
  setHandler,
} from '@temporalio/workflow';
import type {
  FetchItem,
  FileSetRef,
  PromotedModel,
  ResumePointLookup,
  RunOpening,
  StageItem,
  StageResult,
} from '../contract/activities.js';
import {
  QUERIES,
  SIGNALS,
  type FineTuneInput,
  type GangNews,
  type RunResult,
  type RunState,
} from '../contract/messages.js';
import { specKey } from '../contract/store-keys.js';
import { STAGE_NAMES, type ArtifactName, type StageName } from '../plan/plan.js';
import type { DataState } from '../plan/promotions.js';
import { control, verifying } from './activities.js';
import { inGroup } from './event-group.js';
import { asRoot, failureFacts } from './failure.js';
import { judgeResult, type Evaluated, type Judged } from './gate.js';
import { evaluateStage } from './evaluate-stage.js';
import { onSomeHost } from './some-host.js';
import { RunRequests } from './run-requests.js';
import { RunView } from './run-view.js';
import { trainStage, type Artifacts, type RunParts } from './train-stage.js';

const stateQuery = defineQuery<RunState>(QUERIES.state);
const gangMoved = defineSignal<[GangNews]>(SIGNALS.gangMoved);

type Facts = StageResult['facts'];

export async function fineTune(input: FineTuneInput): Promise<RunResult> {
  const run = new RunView(input);
  setHandler(stateQuery, () => run.state);
  setHandler(gangMoved, (news) => {
    run.gangMoved(news);
  });
  const requests = new RunRequests(run);
  try {
    const result = await requests.stoppable(() => wholeChain(input, run, requests));
    if (result.why !== undefined) run.show('evaluate', { note: result.why });
    run.end(result.outcome);
    return { ...result, stages: run.state.stages };
  } catch (error) {
    const { stopped } = run.state;
    // Cancelled from outside as well, it ends as cancelled.
    if (stopped !== undefined && isCancellation(error) && !CancellationScope.current().consideredCancelled) {
      run.end('stopped');
      const { stages, gang } = run.state;
      const committedIteration = gang?.committedIteration ?? 0;
      return { runId: input.runId, outcome: 'stopped', stopped, committedIteration, stages };
    }
    run.end(isCancellation(error) ? 'stopped' : 'failed');
    throw isCancellation(error) ? error : asRoot(error);
  }
}

async function wholeChain(input: FineTuneInput, run: RunView, requests: RunRequests): Promise<Judged> {
  const opening = await inGroup('opening', () =>
    control(input.cluster, 'check the spec, store the plan').openRun(input),
  );
  run.begin(opening.iterations);
  const chain = new Chain(input, opening, run, requests);
  await whileDamaged(async () => {
    for (const stage of STAGE_NAMES) {
      await requests.whilePaused(stage);
      await run.during(stage, () => chain.run(stage));
    }
  });
  await requests.whilePaused('evaluate');
  return inGroup('promotion', () => chain.judge());
}

/** A disk that damages more artifacts than this during one run is not worth a third look. */
const PASSES = 3;

/** What was whole a moment ago and is damaged now is made again: another pass finds everything that is still whole. */
async function whileDamaged(pass: () => Promise<void>): Promise<void> {
  for (let passes = 1; ; passes += 1) {
    try {
      await pass();
      return;
    } catch (error) {
      if (passes === PASSES || failureFacts(error).type !== 'ArtifactCorrupt') throw error;
    }
  }
}

/** Runs the stages of one run and keeps what each has made. */
class Chain {
  private readonly input: FineTuneInput;
  private readonly opening: RunOpening;
  private readonly view: RunView;
  private readonly parts: RunParts;
  private readonly artifacts: Artifacts = {};
  private facts: Facts = {};
  private data: DataState | undefined;
  /** What the result is compared with instead of the model that training began from. */
  private rival: PromotedModel | null;

  constructor(input: FineTuneInput, opening: RunOpening, view: RunView, requests: RunRequests) {
    this.input = input;
    this.parts = { input, opening, view, requests };
    this.rival = input.retrain?.base ?? null;
    this.opening = opening;
    this.view = view;
  }

  async run(stage: StageName): Promise<void> {
    if (stage === 'fetch') {
      const items: FetchItem[] = ['fetch-model', 'fetch-data'];
      if (this.opening.inputs.convert.includes('start')) items.push('fetch-start');
      await Promise.all(items.map((item) => this.fetch(item)));
      return;
    }
    const inputs = this.inputsOf(stage);
    const digests = Object.fromEntries(Object.entries(inputs).map(([name, ref]) => [name, ref.digest]));
    await this.findOrMake(stage, stage, { inputs: digests }, (stageKey) => this.make(stage, inputs, stageKey));
  }

  /** What the gate says of the result, and the promotion of one that passes. */
  judge(): Promise<Judged> {
    return judgeResult({
      input: this.input,
      opening: this.opening,
      evaluated: () => this.evaluated(),
      evaluateAgainst: (rival) => {
        this.rival = rival;
        return this.view.during('evaluate', () => this.run('evaluate'));
      },
    });
  }

  private evaluated(): Evaluated {
    const { published } = this.artifacts;
    const { baseAccuracy, accuracy, weightsDigest } = this.facts;
    const { data, rival } = this;
    if (
      published === undefined ||
      data === undefined ||
      typeof baseAccuracy !== 'number' ||
      typeof accuracy !== 'number' ||
      typeof weightsDigest !== 'string'
    )
      throw ApplicationFailure.nonRetryable(
        'The evaluation has no accuracy, so the result cannot be judged.',
        'GateFailed',
      );
    return { baseAccuracy, accuracy, weightsDigest, published, data, rival };
  }

  private async fetch(item: FetchItem): Promise<void> {
    const { runId, cluster } = this.input;
    const where = { cluster, runtime: this.opening.runtime };
    const { from, base = null, data: pinned } = this.input.retrain ?? {};
    if (item === 'fetch-model' && from === 'promoted' && base !== null) {
      this.keep({ artifacts: { model: base.published }, facts: {} });
      return;
    }
    const isPinned = item === 'fetch-data' && pinned !== undefined;
    const { fingerprint } = isPinned
      ? pinned
      : await onSomeHost({ ...where, what: `${item}: what the source holds` }, (io) =>
          io.fingerprintSource({ specKey: specKey(runId), item }),
        );
    if (item === 'fetch-data') this.data = isPinned ? pinned : { fingerprint, at: Date.now() };
    await this.findOrMake('fetch', item, { inputs: {}, fingerprint }, () =>
      onSomeHost({ ...where, what: item }, (io, host) => {
        this.view.on('fetch', host);
        return io.fetchSource({ runId, item, fingerprint });
      }),
    );
  }

  private async findOrMake(
    stage: StageName,
    item: StageItem,
    by: { readonly inputs: Partial<Record<ArtifactName, string>>; readonly fingerprint?: string },
    make: (stageKey: string) => Promise<StageResult>,
  ): Promise<void> {
    const { runId, cluster } = this.input;
    const look: ResumePointLookup = await verifying(cluster, `${item}: made before?`).findResumePoint({
      runId,
      item,
      ...by,
    });
    if (look.found !== undefined) {
      this.view.reused(stage, look.foundRunId ?? runId);
      this.keep(look.found);
      return;
    }
    this.view.made(stage, look.rejected ?? '');
    const { stageKey, nextNumber: number } = look;
    const result = await make(stageKey);
    await control(cluster, `${item}: record the result`).recordResumePoint({ runId, stageKey, number, result });
    this.keep(result);
  }

  private make(stage: Exclude<StageName, 'fetch'>, inputs: Artifacts, stageKey: string): Promise<StageResult> {
    const { runId, cluster } = this.input;
    const where = { cluster, runtime: this.opening.runtime, what: stage };
    const on = (host: string): void => {
      this.view.on(stage, host);
    };
    switch (stage) {
      case 'convert':
        return onSomeHost(where, (io, host) => (on(host), io.convertModel({ runId, inputs })));
      case 'prepare':
        return onSomeHost(where, (io, host) => (on(host), io.prepareData({ runId, inputs })));
      case 'publish':
        return onSomeHost(where, (io, host) => (on(host), io.publishModel({ runId, inputs })));
      case 'train':
        return trainStage(this.parts, inputs, stageKey);
      case 'evaluate':
        return evaluateStage(this.parts, inputs);
    }
  }

  private inputsOf(stage: StageName): Record<string, FileSetRef> {
    return Object.fromEntries(
      this.opening.inputs[stage].map((name) => {
        // The judge compares the result with a promoted model as it does with the one that training began from.
        const rival = stage === 'evaluate' && name === 'model' ? this.rival?.published : undefined;
        const ref = rival ?? this.artifacts[name];
        if (ref === undefined)
          throw ApplicationFailure.nonRetryable(`Stage ${stage} needs "${name}", which no earlier stage made.`);
        return [name, ref];
      }),
    );
  }

  private keep({ artifacts, facts }: StageResult): void {
    Object.assign(this.artifacts, artifacts);
    this.facts = { ...this.facts, ...facts };
  }
}

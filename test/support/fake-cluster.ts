/**
 * The workflows with their real bundle on a real server, over activities that only remember: a store of facts in memory and
 * hosts whose trainers do what the test says. What is tested is when and where the workflows act, not the acts.
 */
import { ApplicationFailure, Context } from '@temporalio/activity';
import { Client, Connection, WithStartWorkflowOperation } from '@temporalio/client';
import { NativeConnection, Worker } from '@temporalio/worker';
import { failure } from '../../src/activities/fail.js';
import { createChoosePromotion } from '../../src/activities/control/choose-promotion.js';
import { createOpenRun } from '../../src/activities/control/open-run.js';
import { createPromote } from '../../src/activities/control/promote.js';
import { createRetrains } from '../../src/activities/control/retrains.js';
import type { ControlDeps } from '../../src/activities/control/deps.js';
import { createHosts } from '../../src/activities/control/hosts.js';
import type {
  ChosenPromotion,
  CompleteSave,
  ControlActivities,
  FileSetRef,
  IoActivities,
  ModelLook,
  NpuActivities,
  RunOpening,
  StageInput,
  StageItem,
  StageResult,
  TrainerLook,
  TrainRankInput,
  TrainRankResult,
} from '../../src/contract/activities.js';
import { createLastWords, gangWords } from '../../src/activities/control/gang-words.js';
import { tellRun } from '../../src/activities/control/tell-run.js';
import {
  UPDATES,
  WORKFLOW_TYPES,
  type ChooseModelInput,
  type FineTuneInput,
  type FineTuneResult,
  type RetrainInput,
  type RetrainResult,
  type TrainGangInput,
  type TrainGangResult,
} from '../../src/contract/messages.js';
import {
  choiceWorkflowId,
  controlQueue,
  ioQueue,
  npuQueue,
  poolWorkflowId,
  retrainWorkflowId,
  runWorkflowId,
  trainWorkflowId,
} from '../../src/contract/names.js';
import type { HostFacts } from '../../src/plan/hosts.js';
import type { HostCheck } from '../../src/plan/preflight.js';
import { foldRunLog, lastCommit, type RunFact } from '../../src/plan/run-log.js';
import { parseSpec } from '../../src/spec/parse.js';
import type { ObjectStore } from '../../src/storage/object-store.js';
import { quietRuntime } from './quiet-runtime.js';
import { recordCommands, type SentCommand } from './worker-commands.js';
import { workflowBundle } from './workflow-bundle.js';

export const HOSTS = ['host-a', 'host-b', 'host-c'] as const;

/** What a test decides; what it leaves out goes well. */
export interface Behaviour {
  opening?: Partial<RunOpening>;
  /** Items that were made before. */
  readonly found?: readonly StageItem[];
  trainRank?: (input: TrainRankInput, host: string, cluster: FakeCluster) => Promise<TrainRankResult>;
  stage?: (stage: StageItem, host: string, cluster: FakeCluster) => Promise<void>;
  /** May fail: the record changes no outcome. */
  recordMetrics?: () => Promise<void>;
  /** May fail, as a restore does that finds a damaged shard. */
  stageIn?: (iteration: number, host: string) => Promise<void>;
  /** What is damaged of a commit that is looked through as a whole; left out, nothing. */
  damage?: (digest: string) => string | undefined;
  /** What a look at a host finds; left out, nothing. */
  checkHost?: (host: string) => HostCheck;
  /** Whether the pool hears of a host. */
  isHeard?: (host: string) => boolean;
  /** What a host sees of its trainer; never answering is a lost host. */
  probeTrainer?: (host: string, stacks: boolean) => Promise<TrainerLook>;
  /** Replaces the deleter of old checkpoints. */
  deleteDropped?: () => Promise<void>;
  /** May fail, as a host does that cannot be proven empty. */
  vacateHost?: (host: string, fence: number) => Promise<void>;
  accuracy?: number;
  /** What the data source holds now. */
  fingerprint?: () => string;
  /** What a stage makes and says, where it must not be the same for all runs. */
  result?: (
    stage: StageItem,
    input: Pick<StageInput, 'runId' | 'inputs'>,
  ) => Partial<StageResult> | undefined | Promise<Partial<StageResult> | undefined>;
  /** Without a store: what a retrain finds of the model. */
  readonly model?: Partial<ModelLook>;
  /** With a store, runs are opened and models are promoted in it by the real activities. */
  readonly store?: ObjectStore;
  /** The real look at workers and owners, instead of one that sees nothing. */
  readonly watches?: boolean;
  /** No cache: every workflow task replays its whole history, so what does not replay fails here and not in production. */
  readonly replays?: boolean;
}

export class FakeCluster {
  /** Every act in order, as `what host`. */
  readonly acts: string[] = [];
  /** What the workflows asked of the server. */
  commands: readonly SentCommand[] = [];
  private readonly logs = new Map<string, RunFact[]>();
  private readonly saves: (CompleteSave & { readonly runId: string; readonly generation: number })[] = [];
  readonly name: string;
  readonly client: Client;
  private readonly workers: Worker[];
  private readonly running: Promise<void>[];
  private readonly stopping: { readonly over: Promise<void>; readonly resolve: () => void };
  private readonly connection: NativeConnection;

  private constructor(name: string, client: Client, connection: NativeConnection) {
    this.name = name;
    this.client = client;
    this.connection = connection;
    this.workers = [];
    this.running = [];
    let resolve = (): void => undefined;
    const over = new Promise<void>((done) => (resolve = done));
    this.stopping = { over, resolve };
  }

  static async start(address: string, name: string, behaviour: Behaviour): Promise<FakeCluster> {
    quietRuntime();
    const connection = await NativeConnection.connect({ address });
    const cluster = new FakeCluster(
      name,
      new Client({ connection: await Connection.connect({ address }) }),
      connection,
    );
    await cluster.work(controlQueue(name), cluster.control(behaviour), await workflowBundle(), behaviour.replays);
    for (const host of HOSTS) {
      await cluster.work(ioQueue(name, host), cluster.io(behaviour, host));
      await cluster.work(npuQueue(name, host), cluster.npu(behaviour, host));
    }
    for (const host of HOSTS) await cluster.register(host);
    return cluster;
  }

  async run(runId: string): Promise<FineTuneResult> {
    return (await this.submit(runId)).result();
  }

  async submit(runId: string, more: Pick<FineTuneInput, 'retries'> = {}) {
    const input: FineTuneInput = { runId, cluster: this.name, spec: SPEC, ...more };
    return this.client.workflow.start<(input: FineTuneInput) => Promise<FineTuneResult>>(WORKFLOW_TYPES.fineTune, {
      workflowId: runWorkflowId(runId),
      taskQueue: controlQueue(this.name),
      args: [input],
    });
  }

  /** A gang alone, without the run around it. */
  async train(runId: string, opening: Partial<RunOpening> = {}) {
    const input: TrainGangInput = { runId, cluster: this.name, opening: { ...OPENING, ...opening }, inputs: {} };
    return this.client.workflow.start<(input: TrainGangInput) => Promise<TrainGangResult>>(WORKFLOW_TYPES.trainGang, {
      workflowId: trainWorkflowId(runId),
      taskQueue: controlQueue(this.name),
      args: [input],
    });
  }

  async retrain(name: string, from: RetrainInput['from'] = 'base') {
    return this.client.workflow.start<(input: RetrainInput) => Promise<RetrainResult>>(WORKFLOW_TYPES.retrain, {
      workflowId: retrainWorkflowId(name),
      taskQueue: controlQueue(this.name),
      args: [{ cluster: this.name, spec: SPEC, from }],
    });
  }

  /** Rolls back by hand. */
  async choose(request: string) {
    const choice = { model: OPENING.publishAs, rollBackTo: null };
    return this.client.workflow.start<(input: ChooseModelInput) => Promise<ChosenPromotion>>(
      WORKFLOW_TYPES.chooseModel,
      {
        workflowId: choiceWorkflowId(request),
        taskQueue: controlQueue(this.name),
        args: [{ cluster: this.name, request, choice, why: 'by hand' }],
      },
    );
  }

  /** A save of every node is in the store. */
  save({ runId, generation }: { runId: string; generation: number }, iteration: number): void {
    this.saves.push({ runId, generation, iteration, checkpoint: ref(`g${String(generation)}-${String(iteration)}`) });
  }

  logOf(runId: string): RunFact[] {
    const log = this.logs.get(runId) ?? [];
    this.logs.set(runId, log);
    return log;
  }

  /** As a power cut: the host takes nothing up any more, and what it works at is never heard of again. Resolves when the cluster stops. */
  async lose(host: string): Promise<void> {
    const queues = [ioQueue(this.name, host), npuQueue(this.name, host)];
    for (const worker of this.workers) if (queues.includes(worker.options.taskQueue)) worker.shutdown();
    await this.stopping.over;
  }

  async stop(): Promise<void> {
    this.stopping.resolve();
    for (const worker of this.workers) if (worker.getState() === 'RUNNING') worker.shutdown();
    await Promise.all(this.running);
    await this.client.connection.close();
    await this.connection.close();
  }

  private async work(taskQueue: string, activities: object, code?: string, replays = false): Promise<void> {
    const worker = await Worker.create({
      connection: this.connection,
      taskQueue,
      activities,
      ...(code === undefined ? {} : { workflowBundle: { code }, ...(replays ? { maxCachedWorkflows: 0 } : {}) }),
      maxHeartbeatThrottleInterval: '100ms',
    });
    if (code !== undefined) this.commands = recordCommands(worker);
    this.workers.push(worker);
    this.running.push(worker.run());
  }

  /** As an agent does; fails as it would. */
  async register(name: string, change: Partial<HostFacts> = {}): Promise<void> {
    const facts: HostFacts = {
      name,
      address: '127.0.0.1',
      workRootId: name,
      machineId: 'test',
      bootId: 'test',
      npus: 1,
      runtime: 'cpu',
      agentPid: process.pid,
      agentStartedAt: new Date().toISOString(),
      version: 'test',
      fence: 0,
      held: null,
      ...change,
    };
    await this.client.workflow.executeUpdateWithStart(UPDATES.registerHost, {
      args: [facts],
      startWorkflowOperation: new WithStartWorkflowOperation(WORKFLOW_TYPES.hostPool, {
        workflowId: poolWorkflowId(this.name),
        taskQueue: controlQueue(this.name),
        args: [{ cluster: this.name }],
        workflowIdConflictPolicy: 'USE_EXISTING',
      }),
    });
  }

  private control(behaviour: Behaviour): ControlActivities {
    return {
      openRun: () => Promise.resolve({ ...OPENING, ...behaviour.opening }),
      findResumePoint: ({ item }) => {
        this.acts.push(`look ${item}`);
        const found =
          behaviour.found?.includes(item) === true ? { found: resultOf(item, behaviour), foundRunId: 'earlier' } : {};
        return Promise.resolve({ stageKey: `key-${item}`, nextNumber: 1, ...found });
      },
      recordResumePoint: ({ stageKey }) => {
        this.acts.push(`record ${stageKey}`);
        return Promise.resolve();
      },
      readRunLog: ({ runId }) => Promise.resolve(this.logOf(runId)),
      tellRun: ({ runId, news }) => tellRun(this.client, runId, news),
      appendRunFacts: async ({ runId, number, facts, news }) => {
        const log = this.logOf(runId);
        for (const [index, fact] of facts.entries()) {
          // Create-once: the same number with the same body is success, with another it ends the writer.
          const there = log[number - 1 + index];
          if (there === undefined) log[number - 1 + index] = fact;
          else if (JSON.stringify(there) !== JSON.stringify(fact))
            throw ApplicationFailure.nonRetryable('conflict', 'FactConflict');
        }
        if (news !== undefined) await tellRun(this.client, runId, news);
      },
      findDamage: ({ fileSet }) => Promise.resolve(behaviour.damage?.(fileSet.digest) ?? null),
      findEarlierCommit: ({ earlierRunId }) => {
        const commit = lastCommit(foldRunLog(this.logOf(earlierRunId)));
        return Promise.resolve(commit === undefined ? { note: 'nothing there' } : { commit, note: 'goes on' });
      },
      recordMetrics: async ({ runId }) => {
        this.acts.push(`record metrics of ${runId}`);
        await behaviour.recordMetrics?.();
        return null;
      },
      watchSaves: async ({ runId, generation, afterIteration, once }) => {
        for (;;) {
          const save = this.saves.find(
            (one) => one.runId === runId && one.generation === generation && one.iteration > afterIteration,
          );
          if (save !== undefined) {
            const words = await gangWords(this.client, trainWorkflowId(runId), generation);
            const { iteration, checkpoint } = save;
            return { iteration, checkpoint, ...(words === undefined ? {} : { words }) };
          }
          if (once) return null;
          Context.current().heartbeat();
          await Context.current().sleep(50);
        }
      },
      ...createLastWords({ client: this.client } as ControlDeps),
      deleteDropped: async ({ once }) => {
        await behaviour.deleteDropped?.();
        if (once) this.acts.push('delete dropped');
        while (!once) {
          Context.current().heartbeat();
          await Context.current().sleep(50);
        }
      },
      pickHost: ({ except }) => {
        const heard = HOSTS.filter((host) => behaviour.isHeard?.(host) !== false);
        if (heard.length === 0) return Promise.reject(failure('NoHost', 'Nobody is heard.'));
        return Promise.resolve(heard.find((host) => !except.includes(host)) ?? null);
      },
      promote: () => {
        this.acts.push('promote');
        return Promise.resolve({ number: 1 });
      },
      ...this.models(behaviour),
      watchHosts: behaviour.watches === true ? this.watchHosts() : this.seesNothing(),
    };
  }

  private watchHosts(): ControlActivities['watchHosts'] {
    const { client, name: cluster } = this;
    return createHosts({ client, cluster, namespace: 'default' } as ControlDeps).watchHosts;
  }

  private seesNothing(): ControlActivities['watchHosts'] {
    return async () => {
      for (;;) {
        Context.current().heartbeat();
        await Context.current().sleep(200);
      }
    };
  }

  private models({ store, model }: Behaviour) {
    if (store !== undefined) {
      const { timing } = OPENING;
      const deps = { cluster: this.name, namespace: 'default', client: this.client, store, timing };
      return {
        openRun: createOpenRun(deps),
        promote: createPromote(deps),
        choosePromotion: createChoosePromotion(deps),
        ...createRetrains(deps),
      };
    }
    const specKey = 'specs/spec.json';
    const data = { fingerprint: 'earlier', at: 0 };
    const promotion = {
      number: 3,
      runId: 'earlier',
      published: ref('earlier'),
      weightsDigest: 'w',
      accuracy: 0.9,
      data,
    };
    return {
      choosePromotion: () => Promise.resolve({ model: OPENING.publishAs, promotion }),
      openRetrain: () => Promise.resolve({ runtime: OPENING.runtime, spec: 'spec', specKey }),
      lookAtModel: () => Promise.resolve({ trainedBy: null, current: null, ...model }),
      recordRetrain: () => Promise.resolve(),
    };
  }

  private io(behaviour: Behaviour, host: string): IoActivities {
    const stage =
      (item: StageItem) =>
      async (input: Pick<StageInput, 'runId' | 'inputs'>): Promise<StageResult> => {
        this.acts.push(`${item} ${host}`);
        await behaviour.stage?.(item, host, this);
        return { ...resultOf(item, behaviour), ...(await behaviour.result?.(item, input)) };
      };
    return {
      fingerprintSource: () => Promise.resolve({ fingerprint: behaviour.fingerprint?.() ?? 'same' }),
      fetchSource: ({ runId, item }) => stage(item)({ runId, inputs: {} }),
      convertModel: stage('convert'),
      prepareData: stage('prepare'),
      publishModel: stage('publish'),
      stageIn: async ({ generation, resumeFrom, checkFinite }) => {
        const iteration = resumeFrom?.iteration ?? 0;
        this.acts.push(`stage in g${String(generation)} from ${String(iteration)} ${host}`);
        if (checkFinite) this.acts.push(`look for NaN g${String(generation)} ${host}`);
        await behaviour.stageIn?.(iteration, host);
        return { localFiles: 0, localBytes: 0, downloadedFiles: 1, downloadedBytes: iteration };
      },
      checkHost: () => {
        this.acts.push(`check ${host}`);
        return Promise.resolve(behaviour.checkHost?.(host) ?? { findings: [], versions: {} });
      },
      openRendezvous: () => Promise.resolve({ port: 20_000 }),
      probeTrainer: async ({ generation, stacks }) => {
        this.acts.push(`probe g${String(generation)}${stacks ? ' with stacks' : ''} ${host}`);
        return (await behaviour.probeTrainer?.(host, stacks)) ?? { trainer: 'running', ranks: [] };
      },
      stopTrainer: ({ generation, isBroken }) => {
        this.acts.push(`stop g${String(generation)} ${host}`);
        return Promise.resolve({ stopped: [], ...(isBroken ? { evidence: 3 } : {}) });
      },
      vacateHost: async ({ fence }) => {
        await behaviour.vacateHost?.(host, fence);
        return { stopped: [] };
      },
    };
  }

  private npu(behaviour: Behaviour, host: string): NpuActivities {
    return {
      trainRank: async (input) => {
        this.acts.push(`train g${String(input.generation)} node ${String(input.nodeRank)} ${host}`);
        if (behaviour.trainRank !== undefined) return behaviour.trainRank(input, host, this);
        if (input.nodeRank === 0) this.save(input, OPENING.iterations);
        return { iteration: OPENING.iterations };
      },
      evaluateModel: async (input) => {
        this.acts.push(`evaluate ${host}`);
        await behaviour.stage?.('evaluate', host, this);
        return { ...resultOf('evaluate', behaviour), ...(await behaviour.result?.('evaluate', input)) };
      },
    };
  }
}

export const OPENING: RunOpening = {
  planDigest: 'plan',
  hosts: 2,
  npusPerHost: 1,
  runtime: 'cpu',
  iterations: 30,
  saveEveryIterations: 10,
  keepCheckpoints: 2,
  reportingNode: 1,
  inputs: {
    fetch: [],
    convert: ['model'],
    prepare: ['data', 'model'],
    train: ['converted', 'dataset', 'model'],
    publish: ['checkpoint', 'model'],
    evaluate: ['model', 'published', 'dataset'],
  },
  minimumAccuracy: 0.9,
  publishAs: 'digits',
  timing: { heartbeatSeconds: 2, attachSeconds: 4 },
};

const SPEC = (() => {
  const parsed = parseSpec(
    `
version: 1
name: test
model: { family: internvl3, preset: internvl3-tiny, source: { uri: 'file:///model' } }
data: { source: { uri: 'file:///data' } }
runtime: { kind: cpu }
layout: { hosts: 2, npusPerHost: 1, distTrain: { vision: { npus: 1 }, language: { npus: 1 } } }
training: { iterations: 30, globalBatchSize: 64, microBatchSize: 32, sequenceLength: 48, learningRate: 0.003 }
checkpoint: { everyIterations: 10 }
publish: { model: digits }
`,
    { fileName: 'test.yaml' },
  );
  if ('refusals' in parsed) throw new Error(JSON.stringify(parsed.refusals));
  return parsed.spec;
})();

export function ref(digest: string): FileSetRef {
  return { prefix: `artifacts/${digest}/`, manifestKey: `artifacts/${digest}.json`, digest };
}

function resultOf(item: StageItem, { accuracy = 0.97 }: Behaviour): StageResult {
  switch (item) {
    case 'fetch-model':
      return { artifacts: { model: ref('model') }, facts: {} };
    case 'fetch-data':
      return { artifacts: { data: ref('data') }, facts: {} };
    case 'fetch-start':
      return { artifacts: { start: ref('start') }, facts: {} };
    case 'fetch':
      return { artifacts: {}, facts: {} };
    case 'convert':
      return { artifacts: { converted: ref('converted') }, facts: {} };
    case 'prepare':
      return { artifacts: { dataset: ref('dataset') }, facts: {} };
    case 'train':
      return { artifacts: { checkpoint: ref('checkpoint') }, facts: {} };
    case 'publish':
      return { artifacts: { published: ref('published') }, facts: {} };
    case 'evaluate':
      return {
        artifacts: { evaluation: ref('evaluation') },
        facts: { baseAccuracy: 0.1, accuracy, weightsDigest: 'w' },
      };
  }
}

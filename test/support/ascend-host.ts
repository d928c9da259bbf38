/** Ascend hosts without their cluster: the activities of agents on fixtures, each host with a work root of its own and one store for all. */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import { MockActivityEnvironment } from '@temporalio/testing';
import { onTestFinished } from 'vitest';
import type { HostDeps } from '../../src/activities/host/deps.js';
import { HostDoctor } from '../../src/activities/host/host-doctor.js';
import { HostFence } from '../../src/activities/host/fence.js';
import { createProbeTrainer } from '../../src/activities/host/probe-trainer.js';
import { createStageIn } from '../../src/activities/host/stage-in.js';
import { createStages } from '../../src/activities/host/stages.js';
import { createTrainRank } from '../../src/activities/host/train-rank.js';
import { hostLockFile, stageFolder, trainersFolder } from '../../src/activities/host/work-folders.js';
import { writeRunDocuments } from '../../src/activities/run-documents.js';
import { composePlan } from '../../src/backends/compose-plan.js';
import type { FileSetRef, GangInput } from '../../src/contract/activities.js';
import type { ArtifactName, Plan } from '../../src/plan/plan.js';
import { stopEverything } from '../../src/process/kill.js';
import { trainerDir } from '../../src/process/trainer-files.js';
import { RunSpec, type RunSpecInput } from '../../src/spec/run.js';
import { publishArtifact } from '../../src/storage/file-set.js';
import { FolderStore } from '../../src/storage/folder-store.js';
import { hostEnvironment } from '../../src/workers/host-environment.js';
import { ascendRuntime, type AscendRuntime } from '../fixtures/ascend/runtime.js';
import { ascendHost } from '../fixtures/ascend/tools.js';
import { scratchFolder } from './scratch.js';
import { BASE_MODEL, smallSpec, TRAINER_HOME } from './small-run.js';

/** The tiny model for MindSpeed MM; by default without Dist-train on one NPU. */
export function ascendSpec(changed: Partial<RunSpecInput> = {}): RunSpecInput {
  const small = smallSpec({ data: '/nowhere', iterations: 6 });
  return {
    ...small,
    model: { ...small.model, trustRemoteCode: true },
    runtime: { kind: 'ascend', mindspeedRelease: '2.2.0' },
    layout: { hosts: 1, npusPerHost: 1 },
    // MindSpeed MM cuts an image into twelve tiles and a thumbnail, and all their tokens must fit.
    training: { ...small.training, sequenceLength: 64 },
    checkpoint: { everyIterations: 2 },
    ...changed,
  };
}

export function ascendPlan(spec: RunSpecInput): Plan {
  const composed = composePlan(RunSpec.parse(spec));
  if ('refusals' in composed) throw new Error(JSON.stringify(composed.refusals));
  return composed.plan;
}

type Inputs = Readonly<Partial<Record<ArtifactName, FileSetRef>>>;

/** One run on hosts of one machine. Every process that it starts has ended with the test. */
export class AscendScene {
  readonly runtime: AscendRuntime;
  readonly store: FolderStore;
  readonly root: string;
  readonly plan: Plan;
  readonly runId: string;

  private constructor(root: string, runtime: AscendRuntime, store: FolderStore, plan: Plan, runId: string) {
    this.runId = runId;
    this.root = root;
    this.runtime = runtime;
    this.store = store;
    this.plan = plan;
  }

  /** `change` may spoil the plan, as an engine without its care would have made it. `root` is a scratch folder if left out. */
  static async open(
    spec: RunSpecInput,
    { change = (plan: Plan) => plan, root }: { change?: (plan: Plan) => Plan; root?: string } = {},
  ): Promise<AscendScene> {
    const folder = root ?? (await scratchFolder());
    const runtime = await ascendRuntime(join(folder, 'runtime'));
    const store = new FolderStore(join(folder, 'store'));
    return AscendScene.#run(folder, runtime, store, 'run', spec, change(ascendPlan(spec)));
  }

  /** Another run on the same runtime and store. */
  async another(runId: string, spec: RunSpecInput): Promise<AscendScene> {
    return AscendScene.#run(this.root, this.runtime, this.store, runId, spec, ascendPlan(spec));
  }

  static async #run(
    root: string,
    runtime: AscendRuntime,
    store: FolderStore,
    runId: string,
    spec: RunSpecInput,
    plan: Plan,
  ): Promise<AscendScene> {
    await writeRunDocuments(store, runId, RunSpec.parse(spec), plan);
    return new AscendScene(root, runtime, store, plan, runId);
  }

  /** The base model in the store, or another folder. */
  artifact(folder = BASE_MODEL): Promise<FileSetRef> {
    return publishArtifact(this.store, folder);
  }

  /** Of this run alone, so that tests share no work root. */
  async host(name = 'npu-a'): Promise<AscendHost> {
    const { bin, trainerHome, setEnv } = this.runtime;
    const workRoot = join(this.root, this.runId, name);
    await mkdir(workRoot, { recursive: true });
    const settings = { address: '127.0.0.1', runtimeBin: bin, ascend: { setEnv: [...setEnv] } };
    const deps: HostDeps = {
      cluster: 'c',
      facts: { name } as HostDeps['facts'],
      client: { activity: { heartbeat: () => Promise.resolve() } } as unknown as Client,
      ...{ store: this.store, workRoot, runtimeBin: bin, trainerHome, toolsHome: TRAINER_HOME },
      environment: await hostEnvironment(settings, process.env),
      ...{ leaseTtlSeconds: 60, graceSeconds: 5 },
    };
    const ascend = await ascendHost(join(workRoot, 'tools'));
    return new AscendHost(deps, this, new HostDoctor({ runtime: 'ascend', npus: 2, workRoot, ascend }));
  }
}

export class AscendHost {
  readonly deps: HostDeps;
  readonly #scene: AscendScene;
  readonly #doctor: HostDoctor;

  constructor(deps: HostDeps, scene: AscendScene, doctor: HostDoctor) {
    this.deps = deps;
    this.#doctor = doctor;
    this.#scene = scene;
  }

  /** A stage on this host, as its activity. */
  async stage(name: 'convertModel' | 'publishModel' | 'prepareData', inputs: Inputs) {
    const stages = createStages(this.deps, new HostFence(this.deps.workRoot, this.deps.facts.name));
    return run(stages[name], { runId: this.#scene.runId, inputs });
  }

  async evaluate(inputs: Inputs) {
    const stages = createStages(this.deps, new HostFence(this.deps.workRoot, this.deps.facts.name));
    const owner = { workflowId: 'run/run', firstRunId: 'first', generation: 1 };
    return run(stages.evaluateModel, { runId: this.#scene.runId, inputs, fence: 1, owner });
  }

  /** Where a stage of the run works on this host. */
  folder(stage: string): string {
    return stageFolder(this.deps.workRoot, this.#scene.runId, stage);
  }

  async log(stage: string): Promise<string> {
    return readFile(`${this.folder(stage)}.log`, 'utf8');
  }

  node(generation = 1, nodeRank = 0): GangInput & { readonly dir: string } {
    const { workRoot } = this.deps;
    const marker = { workRoot, runId: this.#scene.runId, generation, nodeRank };
    return { runId: marker.runId, generation, nodeRank, dir: trainerDir(trainersFolder(workRoot), marker) };
  }

  /** Stages the node in, and returns what starts and watches its trainer. */
  async stagedIn(inputs: Inputs, { generation = 1, nodeRank = 0, masterPort = 0 } = {}) {
    const { runId } = this.#scene;
    const { workRoot } = this.deps;
    const fence = new HostFence(workRoot, this.deps.facts.name);
    const io = createStageIn(this.deps, fence, this.#doctor);
    const node = { runId, generation, nodeRank };
    const owner = { workflowId: 'run/run/train', firstRunId: 'first', generation };
    await run(io.stageIn, { ...node, fence: generation, owner, inputs, resumeFrom: null, checkFinite: false });
    const marker = { workRoot, ...node };
    onTestFinished(async () => {
      await stopEverything({ marker, lockFile: hostLockFile(workRoot), graceMs: 0 });
    });
    const port = masterPort === 0 ? (await run(io.openRendezvous, { ...node, exclude: [] })).port : masterPort;
    const train = createTrainRank(this.deps, fence, { versions: {} });
    const input = { ...node, fence: generation, inputs, masterAddress: '127.0.0.1', masterPort: port };
    return {
      dir: this.node(generation, nodeRank).dir,
      marker,
      port,
      train: () => run(train, { ...input, resumeIteration: 0, reachedIteration: 0 }),
      probe: () => run(createProbeTrainer(this.deps), { ...node, stacks: true }),
      stop: () => run(io.stopTrainer, { ...node, isBroken: true }),
    };
  }
}

function run<Input, Result>(activity: (input: Input) => Promise<Result>, input: Input): Promise<Result> {
  return new MockActivityEnvironment({ taskToken: Buffer.from('token') }).run<[Input], Result, typeof activity>(
    activity,
    input,
  );
}

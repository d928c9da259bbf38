/**
 * A cluster for tests of who watches, saves and stops: a real server, real control workers, agents and supervisors of the built
 * command; only what they train is a stand-in (`stand_in_torchrun.py`), so that a training starts in a moment and waits where a test
 * wants. Each agent reaches the server through a line of its own, which can be cut.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { chmod, copyFile, mkdir, mkdtemp, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Client, Connection, type WorkflowHandle } from '@temporalio/client';
import { stringify } from 'yaml';
import { writeRunDocuments } from '../../src/activities/run-documents.js';
import { stageKeyOf } from '../../src/activities/control/resume-points.js';
import type { FileSetRef, RunOpening, StageResult } from '../../src/contract/activities.js';
import {
  QUERIES,
  type PoolState,
  WORKFLOW_TYPES,
  type GangState,
  type TrainGangInput,
  type TrainGangResult,
} from '../../src/contract/messages.js';
import { controlQueue, poolWorkflowId, runWorkflowId, trainWorkflowId } from '../../src/contract/names.js';
import { resumePrefix, runLogPrefix } from '../../src/contract/store-keys.js';
import type { AgentConfig } from '../../src/workers/config.js';
import type { HostView } from '../../src/plan/hosts.js';
import type { Plan } from '../../src/plan/plan.js';
import type { RunFact } from '../../src/plan/run-log.js';
import { RunSpec } from '../../src/spec/run.js';
import { appendFact, readFacts } from '../../src/storage/facts.js';
import { publishArtifact } from '../../src/storage/file-set.js';
import { FolderStore } from '../../src/storage/folder-store.js';
import { cleanEnvironment } from './dev-cluster.js';
import { demoPlan, demoSpec } from './demo-plan.js';
import { startGuard, endGuard } from './guard.js';
import { Line } from './line.js';
import { REPOSITORY, RUNTIME_BIN } from './small-run.js';
import { startTemporal, type TestServer } from './temporal.js';
import { until } from './until.js';

const COMMAND = join(REPOSITORY, 'bin', 'anneal.mjs');
export const RIG = 'rig';
/** On two busy cores a process of ours needs some seconds to start. */
const LIMIT_MS = 60_000;

/** Short, so that a test sees them pass; and a lease ends before a host is given up, so that it is seen to end. */
export const TIMING = { heartbeatSeconds: 4, attachSeconds: 20 } as const;
export const LEASE_SECONDS = 14;

export interface Training {
  readonly iterations: number;
  readonly every: number;
  readonly keep?: number;
}

export interface Node {
  readonly host: string;
  readonly dir: string;
  readonly supervisor: number;
  readonly trainer: number;
}

export class Rig {
  readonly root: string;
  readonly client: Client;
  readonly store: FolderStore;
  readonly #server: TestServer;
  readonly #guard: ChildProcess;
  readonly #processes = new Map<string, ChildProcess>();
  readonly #lines = new Map<string, Line>();

  private constructor(root: string, client: Client, server: TestServer, guard: ChildProcess) {
    this.root = root;
    this.client = client;
    this.store = new FolderStore(join(root, 'store'));
    this.#server = server;
    this.#guard = guard;
  }

  static async start(hosts: readonly string[]): Promise<Rig> {
    const root = await realpath(await mkdtemp(join(tmpdir(), 'anneal-rig-')));
    const guard = startGuard(root);
    const server = await startTemporal();
    const rig = new Rig(
      root,
      new Client({ connection: await Connection.connect({ address: server.address }) }),
      server,
      guard,
    );
    const bin = join(root, 'bin');
    await mkdir(bin);
    await copyFile(join(import.meta.dirname, 'stand_in_torchrun.py'), join(bin, 'torchrun'));
    await chmod(join(bin, 'torchrun'), 0o755);
    // Whoever looks at the host finds the rest of a runtime.
    for (const name of ['pyvenv.cfg', 'lib']) await symlink(join(RUNTIME_BIN, '..', name), join(root, name));
    for (const name of ['python', 'mm-convert']) await symlink(join(RUNTIME_BIN, name), join(bin, name));
    await rig.startWorker('worker');
    for (const host of hosts) await rig.addHost(host);
    return rig;
  }

  async stop(): Promise<void> {
    for (const name of [...this.#processes.keys()]) await this.kill(name);
    await this.client.connection.close();
    await this.#server.stop();
    for (const line of this.#lines.values()) await line.close();
    await endGuard(this.#guard);
  }

  /** A control worker; `program` may be another that ends in the same way of working. */
  async startWorker(name: string, ...program: readonly string[]): Promise<void> {
    const file = join(this.root, `${name}.yaml`);
    const temporal = { address: this.#server.address, namespace: 'default' };
    await writeFile(
      file,
      stringify({ cluster: RIG, temporal, store: { folder: join(this.root, 'store') }, timing: TIMING }),
    );
    this.#spawn(name, program.length > 0 ? [...program, file] : [COMMAND, 'worker', '--config', file]);
  }

  /** Starts an agent of this host, with settings of its own; resolves when the pool knows this very process. */
  async addHost(name: string, own: Partial<AgentConfig> = {}): Promise<void> {
    const pid = (await this.startAgent(name, name, own)).pid;
    await until(`${name} has registered`, LIMIT_MS, async () => {
      if (this.#processes.get(name)?.exitCode !== null) throw new Error(this.said(name));
      const hosts = await this.hosts().catch(() => []);
      return hosts.find(({ facts }) => facts.name === name && facts.agentPid === pid);
    });
  }

  /** Another process of the same settings, under another name here; the first one of a host is `addHost`'s. */
  async startAgent(host: string, as = host, own: Partial<AgentConfig> = {}): Promise<ChildProcess> {
    const [name, port = ''] = this.#server.address.split(':');
    const line = this.#lines.get(host) ?? (await Line.open(name ?? '', Number(port)));
    this.#lines.set(host, line);
    const file = join(this.root, `${host}.yaml`);
    await writeFile(
      file,
      stringify({
        ...{ cluster: RIG, name: host, address: '127.0.0.1', npus: 1, runtime: 'cpu' },
        ...{ workRoot: join(this.root, host), runtimeBin: join(this.root, 'bin'), trainerHome: this.root },
        temporal: { address: line.address, namespace: 'default' },
        store: { folder: join(this.root, 'store') },
        ...{ leaseTtlSeconds: LEASE_SECONDS, graceSeconds: 10 },
        ...own,
      }),
    );
    return this.#spawn(as, [COMMAND, 'agent', '--config', file]);
  }

  /** The line between a host's agent and the server. */
  line(host: string): Line {
    const line = this.#lines.get(host);
    if (line === undefined) throw new Error(`There is no host ${host}.`);
    return line;
  }

  pid(name: string): number {
    const pid = this.#processes.get(name)?.pid;
    if (pid === undefined) throw new Error(`There is no process ${name}.`);
    return pid;
  }

  said(name: string): string {
    return readFileSync(join(this.root, `${name}.log`), 'utf8');
  }

  signal(name: string, signal: NodeJS.Signals): void {
    process.kill(this.pid(name), signal);
  }

  /** Ends a process and waits until it is gone; frozen ones too. */
  async kill(name: string, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#processes.get(name);
    if (child === undefined) return;
    if (child.exitCode === null && child.signalCode === null) {
      const gone = once(child, 'exit');
      child.kill(signal);
      await gone;
    }
    this.#processes.delete(name);
  }

  /** Where trainings wait: at this iteration, or nowhere. */
  async hold(iteration?: number): Promise<void> {
    const file = join(this.root, 'bin', 'hold');
    if (iteration === undefined) await rm(file, { force: true });
    else await writeFile(file, String(iteration));
  }

  /** A gang by itself, as `fineTune` would start it. */
  async train(
    runId: string,
    training: Training,
  ): Promise<WorkflowHandle<(input: TrainGangInput) => Promise<TrainGangResult>>> {
    const { spec, plan, inputs } = await this.#prepare(training);
    const planDigest = await writeRunDocuments(this.store, runId, spec, plan);
    const { hosts, npusPerHost, iterations, saveEveryIterations, keepCheckpoints, reportingNode } = plan.gang;
    const opening: RunOpening = {
      ...{ planDigest, hosts, npusPerHost, iterations, saveEveryIterations, keepCheckpoints, reportingNode },
      ...{ runtime: 'cpu', timing: TIMING, minimumAccuracy: 0, publishAs: 'none' },
      inputs: Object.fromEntries(
        Object.values(plan.stages).map((one) => [one.stage, one.inputs]),
      ) as RunOpening['inputs'],
    };
    const { converted, dataset, model } = inputs;
    return this.client.workflow.start<(input: TrainGangInput) => Promise<TrainGangResult>>(WORKFLOW_TYPES.trainGang, {
      workflowId: trainWorkflowId(runId),
      taskQueue: controlQueue(RIG),
      workflowTaskTimeout: '3 seconds', // so soon another worker takes over from one that is frozen
      args: [{ runId, cluster: RIG, opening, inputs: { converted, dataset, model } }],
    });
  }

  /** A whole run whose stages before the training are found as made. */
  async fineTune(runId: string, training: Training): Promise<WorkflowHandle> {
    const { spec, plan, inputs } = await this.#prepare(training);
    const record = async (
      item: 'convert' | 'prepare',
      needs: readonly (keyof typeof inputs)[],
      result: StageResult,
    ) => {
      const digests = Object.fromEntries(needs.map((name) => [name, inputs[name].digest]));
      const key = stageKeyOf({ runId, item, inputs: digests }, plan, spec);
      await appendFact(this.store, resumePrefix(key), 1, { runId: 'earlier', result });
    };
    await record('convert', ['model'], { artifacts: { converted: inputs.converted }, facts: {} });
    await record('prepare', ['data', 'model'], { artifacts: { dataset: inputs.dataset }, facts: {} });
    return this.client.workflow.start(WORKFLOW_TYPES.fineTune, {
      workflowId: runWorkflowId(runId),
      taskQueue: controlQueue(RIG),
      args: [{ runId, cluster: RIG, spec }],
    });
  }

  async gang(runId: string): Promise<GangState> {
    return this.client.workflow.getHandle(trainWorkflowId(runId)).query<GangState>(QUERIES.gang);
  }

  async log(runId: string): Promise<readonly RunFact[]> {
    return (await readFacts(this.store, runLogPrefix(runId))).map(({ body }) => body as RunFact);
  }

  /** One word a fact: `open 1`, `commit 20`, `drop 10`. */
  async history(runId: string): Promise<readonly string[]> {
    return (await this.log(runId)).map(
      (fact) => `${fact.fact} ${String(fact.fact === 'open' ? fact.generation : fact.iteration)}`,
    );
  }

  /** Resolves when the run's log holds this. */
  async logged(runId: string, word: string): Promise<void> {
    await until(
      `run ${runId} logs "${word}"`,
      LIMIT_MS,
      async () => (await this.history(runId)).includes(word) || undefined,
    );
  }

  /** Both nodes of a generation, by node rank, once each has its trainer. */
  async nodes(runId: string, generation = 1): Promise<readonly [Node, Node]> {
    return until(`generation ${String(generation)} of ${runId} has its trainers`, LIMIT_MS, async () => {
      const opened = (await this.log(runId)).find((fact) => fact.fact === 'open' && fact.generation === generation);
      if (opened?.fact !== 'open') return undefined;
      const nodes: Node[] = [];
      for (const [nodeRank, host] of opened.hosts.entries()) {
        const dir = join(this.root, host, 'trainers', runId, String(generation), String(nodeRank));
        const text = await readFile(join(dir, 'state.json'), 'utf8').catch(() => '{}');
        const { pid, trainer } = JSON.parse(text) as { pid?: number; trainer?: number | null };
        if (pid !== undefined && trainer !== undefined && trainer !== null)
          nodes.push({ host, dir, supervisor: pid, trainer });
      }
      return nodes.length === 2 ? (nodes as [Node, Node]) : undefined;
    });
  }

  /** The iterations that a node's trainer has printed, in order. */
  async printed({ dir }: Node): Promise<readonly number[]> {
    const text = await readFile(join(dir, 'trainer.log'), 'utf8').catch(() => '');
    return [...text.matchAll(/iteration\s+(\d+)\/.*\|$/gm)].map(([, digits]) => Number(digits));
  }

  async owners(): Promise<readonly unknown[]> {
    return (await this.hosts()).map(({ owner }) => owner);
  }

  async hosts(): Promise<readonly HostView[]> {
    const pool = this.client.workflow.getHandle(poolWorkflowId(RIG));
    return (await pool.query<PoolState>(QUERIES.pool)).hosts;
  }

  /** The artifacts that a training reads, and the documents of a run. */
  async #prepare({ iterations, every, keep = 2 }: Training): Promise<{
    readonly spec: RunSpec;
    readonly plan: Plan;
    readonly inputs: Readonly<Record<'model' | 'data' | 'converted' | 'dataset', FileSetRef>>;
  }> {
    const demo = demoSpec();
    const sources = { model: join(this.root, 'source-model'), data: join(this.root, 'source-data') };
    const spec = RunSpec.parse({
      ...demo,
      model: { ...demo.model, source: { uri: pathToFileURL(sources.model).href } },
      data: { ...demo.data, source: { uri: pathToFileURL(sources.data).href } },
      training: { ...demo.training, iterations, warmupIterations: 0 },
      checkpoint: { everyIterations: every, keep },
    });
    const plan = demoPlan(spec);
    const artifact = async (folder: string, files: Readonly<Record<string, string>>): Promise<FileSetRef> => {
      for (const [path, text] of Object.entries(files)) {
        await mkdir(join(folder, path, '..'), { recursive: true });
        await writeFile(join(folder, path), text);
      }
      return publishArtifact(this.store, folder);
    };
    const release = Object.fromEntries(plan.gang.releaseFiles.map(({ path }) => [`release/${path}`, path]));
    const inputs = {
      model: await artifact(sources.model, { 'config.json': '{}' }),
      data: await artifact(sources.data, { 'rows.jsonl': '{}' }),
      converted: await artifact(join(this.root, 'source-converted'), {
        ...release,
        'latest_checkpointed_iteration.txt': 'release',
      }),
      dataset: await artifact(join(this.root, 'source-dataset'), { 'train.jsonl': '{}' }),
    };
    return { spec, plan, inputs };
  }

  #spawn(name: string, args: readonly string[]): ChildProcess {
    const log = openSync(join(this.root, `${name}.log`), 'a');
    const child = spawn(process.execPath, args, {
      env: cleanEnvironment(),
      cwd: this.root,
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    this.#processes.set(name, child);
    return child;
  }
}

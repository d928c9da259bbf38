/** Plays a row of the kill table on a cluster: a run is trained, somebody is killed at the moment, and what came of it is read off. */
import { join } from 'node:path';
import { RunFailedError, type FineTuneResult, type RunEvent, type RunHandle } from '../../../src/client/index.js';
import { readProcess } from '../../../src/process/proc.js';
import { monotonicSeconds, pause, poll } from '../../../src/process/wait.js';
import type { DevCluster } from '../dev-cluster.js';
import { forget, readPlan } from '../run-files.js';
import { activitiesOf } from '../run-history.js';
import { smallSpec, writeDigits } from '../small-run.js';
import { trainersOf } from '../trainers.js';
import { until, within } from '../until.js';
import { TrainerCount } from './one-trainer.js';
import { identify, lives, Scene, type Identity } from './scene.js';
import { strike, type Strike } from './strike.js';
import { ITERATIONS, type Recovery, type Row } from './table.js';

const LIMIT_MS = 300_000;
/** The grace of an `anneal dev` that ends agents of a killed one, several times over. */
const GONE_LIMIT_MS = 60_000;
/** Runs that a row may take until its moment is caught. */
const TRIES = 3;

/** What came of a row. */
export interface Survived {
  /** Runs that it took to catch the moment. */
  readonly tries: number;
  readonly recovery: Recovery;
  readonly generations: readonly number[];
  /** The host names of each generation. */
  readonly hosts: readonly (readonly string[])[];
  /** The save or iteration of the moment. */
  readonly at: number;
  /** Where the last generation began. */
  readonly from: number;
  /** Iterations that had been measured and were trained again. */
  readonly lost: number;
  readonly incidents: readonly Extract<RunEvent, { type: 'incident' }>[];
  /** From the kill to the first iteration that nobody had reached before; left out where there is none. */
  readonly nextSeconds?: number;
  readonly digest: string;
  /** The most trainers of one node at the same time, and in all. */
  readonly trainersAtOnce: number;
  readonly trainersStarted: number;
}

/** A cluster on which rows are played one after another, with the digests of undisturbed runs as the measure. */
export class Ground {
  readonly cluster: DevCluster;
  readonly #data: string;
  readonly #undisturbed = new Map<number, Promise<FineTuneResult>>();
  #runs = 0;

  private constructor(cluster: DevCluster, data: string) {
    this.cluster = cluster;
    this.#data = data;
  }

  static async prepare(cluster: DevCluster): Promise<Ground> {
    const data = join(cluster.root, 'data');
    await writeDigits(data);
    return new Ground(cluster, data);
  }

  /** The weights of so many iterations when nobody is killed. */
  async undisturbedDigest(iterations = ITERATIONS): Promise<string> {
    let result = this.#undisturbed.get(iterations);
    if (result === undefined) {
      result = this.#train(iterations, 'undisturbed').then((run) => within('it ends', LIMIT_MS, run.result()));
      this.#undisturbed.set(iterations, result);
    }
    return (await result).weightsDigest;
  }

  async play(row: Row): Promise<Survived> {
    await this.undisturbedDigest(row.iterations);
    for (let tries = 1; tries <= TRIES; tries += 1) {
      await this.#ready();
      await this.#forgetWhatFollows(row);
      const run = await this.#train(row.iterations, 'row');
      const count = new TrainerCount(run.runId);
      try {
        const survived = await this.#playRun(row, run, count);
        if (survived !== undefined) return { tries, ...survived };
      } finally {
        count.stop();
        await this.cluster.releaseServer();
      }
    }
    throw new Error(`The moment "${row.moment}" was caught in none of ${String(TRIES)} runs.`);
  }

  /** Undefined when the moment was missed; the run has ended by then. */
  async #playRun(row: Row, run: RunHandle, count: TrainerCount): Promise<Omit<Survived, 'tries'> | undefined> {
    const scene = await this.#sceneOf(row, run);
    const isOver = whetherOver(run);
    if (row.victim === 'server') await this.cluster.holdServer();
    const struck = await strike(scene, row, isOver, (victim) => this.#aftermath(scene, row, victim));
    if (struck === undefined) return undefined;
    const next = nextIteration(scene, struck, isOver);
    if (row.victim === 'server') {
      await pause((row.downSeconds ?? 0) * 1000);
      await this.cluster.releaseServer();
    }
    const incidents = (await eventsOf(run)).filter((event) => event.type === 'incident');
    const { weightsDigest } = await within('the run ends', LIMIT_MS, run.result());
    const nextSeconds = await next;
    return {
      ...(await this.#recoveryOf(scene, struck)),
      incidents,
      ...(nextSeconds === undefined ? {} : { nextSeconds }),
      digest: weightsDigest,
      trainersAtOnce: count.most,
      trainersStarted: count.started,
    };
  }

  /** The killed process is gone, and so is what its death ends at once; whoever restarts it by hand has done so. */
  async #aftermath(scene: Scene, { victim, moment, node = 0 }: Row, killed: Identity): Promise<void> {
    await gone('the killed process', killed);
    if (victim === 'launcher' || victim === 'supervisor') await gone('the rank', scene.trainer(node).rank);
    if (victim !== 'anneal dev') return;
    const working = moment === 'publish half done' ? scene.working('publish', 'published') : undefined;
    const agent = working === undefined ? undefined : identify(this.cluster.pidOf(working.host));
    await this.cluster.startDevAgain();
    // The one that is started again ends the agents that the killed one has left.
    if (agent !== undefined) await gone('the agent', agent);
  }

  async #recoveryOf(
    scene: Scene,
    { at }: Strike,
  ): Promise<Pick<Survived, 'recovery' | 'generations' | 'hosts' | 'at' | 'from' | 'lost'>> {
    const opened = scene.facts().flatMap((fact) => (fact.fact === 'open' ? [fact] : []));
    const generations = opened.map(({ generation }) => generation);
    const from = opened.at(-1)?.fromIteration ?? 0;
    const place = { generations, hosts: opened.map(({ hosts }) => hosts), at, from };
    if (generations.length > 1)
      return { ...place, recovery: 'new generation', lost: scene.measured(generations.at(-2) ?? 0) - from };
    const { address } = this.cluster.state;
    const workflows = [`run/${scene.runId}`, ...(generations.length > 0 ? [`run/${scene.runId}/train`] : [])];
    const asked = (await Promise.all(workflows.map((id) => activitiesOf(address, id)))).flat();
    const timesOf = (type: string): number =>
      asked.filter((one) => one.type === type).reduce((sum, { attempts }) => sum + attempts, 0);
    const isAgain = { train: timesOf('trainRank') > scene.trainers.length, publish: timesOf('publishModel') > 1 };
    return { ...place, recovery: isAgain.train ? 'adopted' : isAgain.publish ? 'stage retried' : 'unnoticed', lost: 0 };
  }

  async #sceneOf({ moment }: Row, { runId }: RunHandle): Promise<Scene> {
    const trainers =
      moment === 'publish half done'
        ? []
        : await until(`run ${runId} has started its trainers`, LIMIT_MS, () => trainersOf(this.cluster, runId, 1));
    const plan = await until('the run has its plan', LIMIT_MS, () =>
      readPlan(this.cluster, runId).catch(() => undefined),
    );
    return new Scene(this.cluster, runId, plan, trainers);
  }

  /** Everybody is back whom the row before has killed, and no host is lent out. */
  async #ready(): Promise<void> {
    await until('all processes are back and all hosts are free', LIMIT_MS, async () => {
      const hosts = await this.cluster.anneal.hosts.list().catch(() => []);
      const isFree = hosts.length === 2 && hosts.every(({ live, owner }) => live && owner === null);
      return isFree && this.cluster.isComplete ? true : undefined;
    });
  }

  /** What comes after the stage of the moment is made anew, so that the digest is that of what the row itself has made. */
  async #forgetWhatFollows({ moment }: Row): Promise<void> {
    const trained = moment === 'publish half done' ? [] : (['checkpoint'] as const);
    for (const artifact of [...trained, 'published', 'evaluation'] as const) await forget(this.cluster, artifact);
  }

  async #train(iterations = ITERATIONS, name: string): Promise<RunHandle> {
    this.#runs += 1;
    const spec = smallSpec({ data: this.#data, iterations });
    return this.cluster.anneal.runs.start(spec, { key: `${name}-${String(this.#runs)}` });
  }
}

/** `who` is a process, or one of a pid that was that of our process a moment ago. */
async function gone(what: string, who: Identity | number): Promise<void> {
  const isGone = (): boolean => (typeof who === 'number' ? readProcess(who) === undefined : !lives(who));
  await until(`${what} is gone`, GONE_LIMIT_MS, () => isGone() || undefined);
}

/** Seconds from the kill to the first iteration that had not been reached; undefined when the run ends without one. */
async function nextIteration(
  scene: Scene,
  { reached, killedAt }: Strike,
  isOver: () => boolean,
): Promise<number | undefined> {
  if (scene.trainers.length === 0 || reached === scene.plan.gang.iterations) return undefined;
  const look = (): 'new' | 'over' | undefined => {
    if ([1, 2, 3].some((generation) => scene.measured(generation) > reached)) return 'new';
    return isOver() ? 'over' : undefined;
  };
  const seen = await poll(look, { timeoutMs: LIMIT_MS, pollMs: 20 });
  return seen === 'new' ? monotonicSeconds() - killedAt : undefined;
}

/** Tells whether the run has ended; a server that is away is no end. */
function whetherOver(run: RunHandle): () => boolean {
  let isOver = false;
  void run
    .result()
    .then(
      () => true,
      (error: unknown) => error instanceof RunFailedError,
    )
    .then((ended) => (isOver = ended));
  return () => isOver;
}

async function eventsOf(run: RunHandle): Promise<readonly RunEvent[]> {
  const events: RunEvent[] = [];
  for await (const event of run.watch({ pollMs: 200, signal: AbortSignal.timeout(LIMIT_MS) })) events.push(event);
  return events;
}

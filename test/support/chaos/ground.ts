/** A cluster on which rounds are played one after another, with undisturbed runs of each gang size as their measure. */
import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { RunFailedError, type FineTuneResult, type RunHandle, type RunSpecInput } from '../../../src/client/index.js';
import { pause } from '../../../src/process/wait.js';
import { forget } from '../run-files.js';
import { smallSpec, writeDigits } from '../small-run.js';
import { within } from '../until.js';
import { ChaosCluster } from './cluster.js';
import { EVERY, ITERATIONS } from './schedule.js';

/** A round is to take 45 seconds; several times over on a busy machine, and no round waits for ever. */
export const LIMIT_MS = 240_000;
const ASK_AGAIN_MS = 500;

/** What a run has to come to, whatever happens to it. */
export interface Undisturbed {
  readonly digest: string;
  /** By iteration. */
  readonly losses: ReadonlyMap<number, number>;
}

export class Ground {
  readonly cluster: ChaosCluster;
  readonly #data: string;
  readonly #undisturbed = new Map<number, Promise<Undisturbed>>();

  private constructor(cluster: ChaosCluster, data: string) {
    this.cluster = cluster;
    this.#data = data;
  }

  static async prepare(options: { readonly withDisks: boolean }): Promise<Ground> {
    const cluster = await ChaosCluster.start(options);
    const data = join(cluster.root, 'data');
    await mkdir(data);
    await Promise.all([cluster.ready(), writeDigits(data)]);
    return new Ground(cluster, data);
  }

  /** What a gang of so many hosts comes to when nobody disturbs it. */
  async undisturbed(hosts: 2 | 3): Promise<Undisturbed> {
    let found = this.#undisturbed.get(hosts);
    if (found === undefined) {
      found = this.train(hosts, `calm-${String(hosts)}`).then(async (run) => {
        const { weightsDigest } = await endOf(run);
        const { rows } = await run.metrics();
        return { digest: weightsDigest, losses: new Map(rows.map(({ iteration, loss }) => [iteration, loss])) };
      });
      this.#undisturbed.set(hosts, found);
    }
    return found;
  }

  /** Everything from the training on is made anew. */
  async train(hosts: 2 | 3, name: string): Promise<RunHandle> {
    for (const artifact of ['checkpoint', 'published', 'evaluation'] as const) await forget(this.cluster, artifact);
    // Unlike any run of another cluster on this machine.
    const key = `${name}-${randomBytes(3).toString('hex')}`;
    return this.cluster.anneal.runs.start(specOf(this.#data, hosts), { key });
  }
}

/** Vision on the first host, language on the one or two others. */
function specOf(data: string, hosts: 2 | 3): RunSpecInput {
  const language = hosts === 2 ? { npus: 1 } : { npus: 2, layersPerStage: [1, 1] };
  return {
    ...smallSpec({ data, iterations: ITERATIONS }),
    layout: { hosts, npusPerHost: 1, distTrain: { vision: { npus: 1 }, language } },
    checkpoint: { everyIterations: EVERY },
    evaluation: { heldOutFraction: 0.2, minimumAccuracy: 0, maximumSamples: 10 },
    // A training that stands still so long on two busy cores is one that was stopped.
    limits: { startSeconds: 40, restoreSeconds: 30, firstIterationSeconds: 30, iterationSeconds: 8, saveSeconds: 15 },
  };
}

/** A server that is away is no end. */
export async function endOf(run: RunHandle): Promise<FineTuneResult> {
  const ending = async (): Promise<FineTuneResult> => {
    // Bounded from outside.
    for (;;)
      try {
        return await run.result();
      } catch (error) {
        if (error instanceof RunFailedError) throw error;
        await pause(ASK_AGAIN_MS);
      }
  };
  return within(`run ${run.runId} ends`, LIMIT_MS, ending());
}

/** A round: a run, and the faults of a seed's schedule, each at its moment; then everything is looked for that must, or must not, be there. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { RunHandle } from '../../../src/client/index.js';
import { runLogPrefix } from '../../../src/contract/store-keys.js';
import { monotonicSeconds, pause } from '../../../src/process/wait.js';
import { readPlan } from '../run-files.js';
import { Scene } from '../survives/scene.js';
import { atMoment } from '../survives/strike.js';
import { trainersOf } from '../trainers.js';
import { inflict, type Inflicted } from './faults.js';
import { endOf, type Ground } from './ground.js';
import { describeFault, scheduleOf, type Strike } from './schedule.js';
import { hostsNow, isOfIteration, needsTrainers, sightOf } from './sights.js';
import { problemsOf } from './traces.js';

const LOOK_MS = 50;

/** What came of a fault: `kill agent 7 s @ save begun 20, node 1`. */
export interface Struck {
  readonly fault: string;
  /** Left out when it struck. */
  readonly missed?: string;
}

export interface Round {
  readonly seed: number;
  readonly hosts: number;
  readonly faults: readonly (Struck & { readonly at: string })[];
  /** Incidents as `HostLost: again`, and who took over what. */
  readonly recoveries: readonly string[];
  readonly generations: number;
  readonly iterationsLost: number;
  readonly seconds: number;
  /** Sentences; none of a round that went as promised. */
  readonly problems: readonly string[];
}

export async function playRound(ground: Ground, seed: number): Promise<Round> {
  const { cluster } = ground;
  const { hosts, strikes } = scheduleOf(seed);
  const calm = await ground.undisturbed(hosts);
  await cluster.ready();
  const startedAt = monotonicSeconds();
  const run = await ground.train(hosts, `seed-${String(seed)}`);
  let isOver = false;
  const ending = endOf(run).finally(() => (isOver = true));
  ending.catch(() => undefined);
  const heals: Promise<void>[] = [];
  const damaged = new Set<string>();
  const faults: Round['faults'][number][] = [];
  const done = (inflicted: Inflicted): string | undefined => {
    if ('skipped' in inflicted) return inflicted.skipped;
    heals.push(inflicted.heal());
    if (inflicted.damaged !== undefined) damaged.add(inflicted.damaged);
    return undefined;
  };
  for (const strike of strikes) {
    const struck = await catchStrike(ground, run, strike, () => isOver, done);
    const at = `${strike.moment}${struck === undefined ? '' : ` ${struck.at}`}`;
    for (const [index, fault] of strike.faults.entries()) {
      const missed = struck === undefined ? 'the moment did not come' : struck.missed[index];
      faults.push({ fault: describeFault(fault), at, ...(missed === undefined ? {} : { missed }) });
    }
  }
  const end = await ending.catch((error: unknown) => error as Error);
  await Promise.all(heals);
  const seconds = monotonicSeconds() - startedAt;
  const told = end instanceof Error ? [`The run did not complete: ${end.message}`] : [];
  const problems = end instanceof Error ? told : await problemsOf(cluster, run, calm, end.weightsDigest, damaged);
  return { ...(await storyOf(run)), seed, hosts, faults, seconds, problems };
}

interface Caught {
  readonly at: string;
  /** By fault: why it could not strike. */
  readonly missed: readonly (string | undefined)[];
}

/** Undefined when the run ended before the moment came. */
async function catchStrike(
  { cluster }: Ground,
  run: RunHandle,
  strike: Strike,
  isOver: () => boolean,
  done: (inflicted: Inflicted) => string | undefined,
): Promise<Caught | undefined> {
  const { moment, after, node, faults } = strike;
  const sight = sightOf(moment, after);
  const log = join(cluster.storeFolder, runLogPrefix(run.runId));
  while (!isOver()) {
    const length = lengthOf(log);
    const scene = await sceneOf(cluster, run.runId, needsTrainers(strike));
    if (scene === undefined) {
      await pause(LOOK_MS);
      continue;
    }
    // With each fact of the log the scene may be another.
    const isStale = (): boolean => isOver() || lengthOf(log) !== length;
    const caught = await atMoment({ scene, sight, node, isOver: isStale, stopped: cluster.frozen }, async (at) => {
      const host = scene.working('publish', 'published')?.host ?? hostsNow(scene.facts())[node];
      if (host === undefined) return undefined;
      const missed: (string | undefined)[] = [];
      for (const fault of faults) missed.push(done(await inflict(fault, { cluster, scene, host, node })));
      return {
        at: `${isOfIteration(moment) ? `${String(at)} of ` : ''}g${String(scene.generation)} on ${host}`,
        missed,
      };
    });
    if (caught !== undefined) return caught;
  }
  return undefined;
}

/** The newest generation with its trainers, if all of them live; without trainers, as much as there is. */
async function sceneOf(cluster: Ground['cluster'], runId: string, withTrainers: boolean): Promise<Scene | undefined> {
  const plan = await readPlan(cluster, runId).catch(() => undefined);
  if (plan === undefined) return undefined;
  const opened = new Scene(cluster, runId, plan, []).facts().findLast((fact) => fact.fact === 'open');
  const generation = opened?.generation ?? 0;
  if (!withTrainers) return new Scene(cluster, runId, plan, [], generation);
  const trainers = await trainersOf(cluster, runId, generation, plan.gang.hosts);
  return trainers && new Scene(cluster, runId, plan, trainers, generation);
}

function lengthOf(folder: string): number {
  try {
    return readdirSync(folder).length;
  } catch {
    return 0;
  }
}

async function storyOf(run: RunHandle): Promise<Pick<Round, 'recoveries' | 'generations' | 'iterationsLost'>> {
  const incidents = await run.incidents();
  const { gang } = (await run.snapshot()) ?? {};
  const handovers = (gang?.handovers ?? []).map(
    ({ isHeard, what }) => `${isHeard ? 'taken over' : 'asked for again'}: ${what}`,
  );
  return {
    recoveries: [...incidents.map(({ failure, decision }) => `${failure}: ${sayDecision(decision)}`), ...handovers],
    generations: gang?.generation ?? 0,
    iterationsLost: incidents.reduce((sum, { iterationsLost }) => sum + iterationsLost, 0),
  };
}

/** Of the sentence of an incident what does not change with the run. */
function sayDecision(decision: string): string {
  if (decision.startsWith('Starts a new generation')) return 'again';
  return decision.startsWith('Drops') ? 'one commit back' : decision;
}

/**
 * `npm run bench:recovery`: what a lost host and a killed rank cost, side by side with torchrun alone on the same trainer and sizes. Seconds
 * by the trainers' own loss records: from the kill to the first iteration, and to the first that nobody had reached before.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { parse } from 'yaml';
import { composePlan } from '../../dist/backends/compose-plan.js';
import { RunSpec } from '../../dist/spec/run.js';
import { root } from '../../scripts/lib/files.mjs';
import { fail, say, UserError } from '../../scripts/lib/say.mjs';
import { startDev } from './support/dev.mjs';
import { runStage, runtimeBin, trainer, writeDigits } from './support/plan-stage.mjs';
import { median, recoveryOf, rowsOf } from './support/recoveries.mjs';
import { childrenOf, TorchrunNodes } from './support/torchrun.mjs';
import { until } from './support/until.mjs';

/** @import { Anneal, Incident, RunHandle } from '../../dist/client/index.js' */
/** @import { HoleValues } from '../../dist/plan/plan.js' */
/** @import { Recovery } from './support/recoveries.mjs' */
/** @typedef {Recovery & Partial<Pick<Incident, 'secondsToDetect' | 'secondsToDecide'>>} Round */
/** @typedef {'host' | 'rank'} Kind */
/** @typedef {'anneal' | 'torchrun'} Side */

const { values: flags } = parseArgs({
  options: {
    'host-losses': { type: 'string', default: '10' },
    'rank-kills': { type: 'string', default: '10' },
    'save-every': { type: 'string', default: '50' },
    /** `anneal` or `torchrun` alone. */
    only: { type: 'string', default: '' },
    /** Of the elastic torchrun, such as `last_call_timeout=5`; left out, its defaults. */
    'rdzv-conf': { type: 'string', default: '' },
  },
});

/** A kill comes so many iterations after a save, which a restart then trains again: on both sides as many, for they are part of what is measured. */
const PAST_SAVE = 20;
const AT_MOST_PAST = 3;
/** More than an hour of them: nobody waits for the end. */
const ITERATIONS = 100_000;
const HOSTS = ['host-a', 'host-b', 'host-c'];
const KINDS = /** @type {const} */ (['host', 'rank']);
const LABELS = { host: 'host lost', rank: 'rank killed' };
const SIDES = /** @type {const} */ (['anneal', 'torchrun']);
/** @type {Record<Kind, number>} */
const COUNTS = { host: Number(flags['host-losses']), rank: Number(flags['rank-kills']) };
/** Times the median of torchrun. */
const GOALS = { host: 0.5, rank: 1.2 };

/** @type {Record<Side, Record<Kind, Round[]>>} */
const rounds = { anneal: { host: [], rank: [] }, torchrun: { host: [], rank: [] } };
const scratch = mkdtempSync(join(tmpdir(), 'anneal-bench-'));
const state = join(scratch, 'state');
const digits = join(scratch, 'digits');
const baseModel = join(trainer, 'base/internvl3-tiny');

/** The demo's model and data, two data-parallel ranks on two hosts: the only layout that torchrun can go on with when one is gone. */
function specOfBench() {
  const spec = parse(readFileSync(join(root, 'examples/laptop.yaml'), 'utf8'));
  spec.model.source.uri = pathToFileURL(baseModel).href;
  spec.data.source.uri = pathToFileURL(digits).href;
  spec.layout = { hosts: 2, npusPerHost: 1 };
  spec.training.iterations = ITERATIONS;
  spec.checkpoint = { everyIterations: Number(flags['save-every']) };
  return spec;
}

/** @param {number} pid @param {NodeJS.Signals} signal */
function send(pid, signal) {
  try {
    process.kill(pid, signal);
  } catch {
    // It has died with the one before.
  }
}

/** @param {string} runId */
function trainerFolders(runId) {
  return HOSTS.flatMap((host) => {
    const run = join(state, 'hosts', host, 'work', 'trainers', runId);
    return (existsSync(run) ? readdirSync(run) : []).flatMap((generation) =>
      readdirSync(join(run, generation)).map((rank) => ({
        host,
        generation: Number(generation),
        rank,
        dir: join(run, generation, rank),
      })),
    );
  });
}

/** @param {string} runId @param {number} from the generation: what those before it have measured would only cost the trainers time */
const rowsOfRun = (runId, from) =>
  rowsOf(
    trainerFolders(runId).flatMap(({ dir, generation }) => (generation < from ? [] : [join(dir, 'metrics.jsonl')])),
  );

/**
 * The trainer that is killed: that of node 1, which is not the master, once its gang has committed and trained past it.
 * @param {RunHandle} run @param {Anneal} anneal
 */
async function victimOf(run, anneal) {
  return until('the gang trains past a commit of its own', async () => {
    const gang = (await run.state())?.gang;
    if (gang?.phase !== 'training') return undefined;
    const node = trainerFolders(run.runId).find(
      ({ generation, rank }) => generation === gang.generation && rank === '1',
    );
    const listed = (await anneal.hosts.list()).find(({ facts }) => facts.name === node?.host);
    if (node === undefined || listed?.trainerPid === undefined) return undefined;
    const rows = rowsOf([join(node.dir, 'metrics.jsonl'), join(node.dir, '..', '0', 'metrics.jsonl')]);
    const past = (rows.at(-1)?.iteration ?? 0) - gang.committedIteration;
    const isOwn = gang.committedIteration > (rows[0]?.iteration ?? Infinity);
    if (!isOwn || past < PAST_SAVE || past > PAST_SAVE + AT_MOST_PAST) return undefined;
    const { pid } = JSON.parse(readFileSync(join(node.dir, 'state.json'), 'utf8'));
    return {
      host: node.host,
      agent: listed.facts.agentPid,
      supervisor: Number(pid),
      torchrun: listed.trainerPid,
      generation: gang.generation,
    };
  });
}

/** @param {Anneal} anneal @param {RunHandle} run @param {Kind} kind @returns {Promise<Round>} */
async function annealRound(anneal, run, kind) {
  const victim = await victimOf(run, anneal);
  const ranks = childrenOf(victim.torchrun);
  const killedAt = Date.now() / 1000;
  if (kind === 'rank') for (const pid of ranks) send(pid, 'SIGKILL');
  else {
    // Frozen and not killed, since "anneal dev" would start another agent at once: to all others it is as silent as a dead host's.
    process.kill(victim.agent, 'SIGSTOP');
    for (const pid of [victim.supervisor, victim.torchrun, ...ranks]) send(pid, 'SIGKILL');
  }
  try {
    const recovery = await until('the run trains again', () =>
      recoveryOf(rowsOfRun(run.runId, victim.generation), killedAt),
    );
    const incident = (await run.incidents()).find(({ generation }) => generation === victim.generation);
    if (incident === undefined) throw new UserError(`Generation ${String(victim.generation)} has no incident.`);
    const { secondsToDetect, secondsToDecide, failure } = incident;
    const expected = kind === 'host' ? 'HostLost' : 'TrainerFailed';
    if (failure !== expected) throw new UserError(`The incident is ${failure}, not ${expected}.`);
    return {
      ...recovery,
      ...(secondsToDetect !== undefined && { secondsToDetect }),
      ...(secondsToDecide !== undefined && { secondsToDecide }),
    };
  } finally {
    if (kind === 'host') send(victim.agent, 'SIGKILL'); // "anneal dev" starts it again
    await until(`${victim.host} is free again`, async () => {
      const hosts = await anneal.hosts.list();
      return hosts.every(({ live, vacating }) => live && vacating === null) || undefined;
    });
    // Its faults would set it apart for a day, and the next loss would find no spare host.
    await anneal.hosts.uncordon(victim.host);
  }
}

async function underAnneal() {
  const { anneal, end } = await startDev({ scratch, state, agents: HOSTS.length });
  try {
    const run = await anneal.runs.start(specOfBench());
    for (const kind of KINDS) await play('anneal', kind, () => annealRound(anneal, run, kind));
    await run.stop({ why: 'the bench is over' });
    await until('the run has stopped', async () => (await run.state())?.outcome === 'stopped' || undefined);
  } finally {
    await end();
  }
}

async function underTorchrun() {
  const spec = RunSpec.parse(specOfBench());
  const composed = composePlan(spec);
  if ('refusals' in composed) throw new UserError(JSON.stringify(composed.refusals));
  const { plan } = composed;
  const of = (/** @type {string} */ stage, /** @type {string} */ folder) => join(scratch, 'bare', stage, folder);
  /** @type {HoleValues} */
  const values = {
    ...{ trainerHome: trainer, toolsHome: trainer, sourceData: digits, baseModel },
    ...{ converted: of('convert', 'converted'), dataset: of('prepare', 'dataset') },
    masterAddress: '127.0.0.1',
  };
  for (const stage of /** @type {const} */ (['convert', 'prepare']))
    await runStage(plan.stages[stage], { ...values, work: join(scratch, 'bare', stage) });
  for (const kind of KINDS) {
    if (COUNTS[kind] === 0) continue;
    const folder = join(scratch, `torchrun-${kind}`);
    const nodes = await TorchrunNodes.start({
      folder,
      plan,
      values,
      conf: flags['rdzv-conf'],
    });
    try {
      await play('torchrun', kind, () => torchrunRound(nodes, kind));
    } finally {
      await nodes.end();
    }
  }
}

/** @param {TorchrunNodes} nodes @param {Kind} kind @returns {Promise<Round>} */
async function torchrunRound(nodes, kind) {
  await nodes.trainsPast(PAST_SAVE);
  const [torchrun, ...ranks] = nodes.pids(1);
  const killedAt = Date.now() / 1000;
  for (const pid of [...(kind === 'host' && torchrun !== undefined ? [torchrun] : []), ...ranks]) send(pid, 'SIGKILL');
  const recovery = await until('torchrun trains again', () => recoveryOf(nodes.rows(), killedAt));
  // A host that is back lets torchrun begin again with both.
  if (kind === 'host') nodes.startNode(1);
  return recovery;
}

/** @param {Side} side @param {Kind} kind @param {() => Promise<Round>} round */
async function play(side, kind, round) {
  for (let number = 1; number <= COUNTS[kind]; number += 1) {
    const one = await round();
    rounds[side][kind].push(one);
    say(
      `${side.padEnd(9)} ${LABELS[kind].padEnd(12)}${String(number).padStart(3)}: again after ${seconds(one.again)}, new after ${seconds(one.fresh)}, ${String(one.lost)} iterations lost`,
    );
  }
}

/** @param {number | undefined} value */
const seconds = (value) => (value === undefined || Number.isNaN(value) ? '-' : `${value.toFixed(1)} s`);

/** @param {readonly Round[]} of @param {keyof Round} what median and worst */
function both(of, what) {
  const values = of.flatMap((one) => one[what] ?? []);
  if (values.length === 0) return '-';
  const digits = what === 'lost' ? 0 : 1;
  return `${median(values).toFixed(digits)} / ${Math.max(...values).toFixed(digits)}`;
}

const COLUMNS = /** @type {const} */ ([
  ['secondsToDetect', 'DETECT s'],
  ['secondsToDecide', 'DECIDE s'],
  ['again', 'AGAIN s'],
  ['fresh', 'NEW s'],
  ['lost', 'LOST'],
]);

function report() {
  say(
    `\nMedian / worst; from the kill: AGAIN to the first iteration, NEW to the first that nobody had reached before.`,
  );
  say(
    ['', '', 'N', ...COLUMNS.map(([, title]) => title)]
      .map((cell, index) => cell.padEnd(index < 2 ? 13 : index === 2 ? 4 : 14))
      .join(''),
  );
  for (const kind of KINDS)
    for (const side of SIDES) {
      const of = rounds[side][kind];
      if (of.length === 0) continue;
      const cells = COLUMNS.map(([what]) => both(of, what).padEnd(14));
      say(`${LABELS[kind].padEnd(13)}${side.padEnd(13)}${String(of.length).padEnd(4)}${cells.join('')}`);
    }
  for (const kind of KINDS) {
    const [ours, theirs] = SIDES.map((side) => median(rounds[side][kind].map(({ fresh }) => fresh)));
    if (ours === undefined || theirs === undefined || Number.isNaN(ours) || Number.isNaN(theirs)) continue;
    say(
      `${LABELS[kind]}: ${(ours / theirs).toFixed(2)} x torchrun's own (goal: at most ${String(GOALS[kind])} x), by the medians to the first new iteration.`,
    );
  }
}

async function main() {
  if (!existsSync(join(runtimeBin, 'torchrun')))
    throw new UserError('The Python environment is missing. Make it: npm run setup');
  await writeDigits(digits);
  say(
    `Two data-parallel ranks on two hosts, saved every ${flags['save-every']} iterations, on ${String(cpus().length)} cores.`,
  );
  if (flags.only !== 'torchrun') await underAnneal();
  if (flags.only !== 'anneal') await underTorchrun();
  report();
}

for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) process.once(signal, () => process.exit(1));
try {
  await main();
  rmSync(scratch, { recursive: true, force: true });
} catch (error) {
  fail(error);
}

/**
 * `npm run bench:overhead`: what the engine costs. One chain under `anneal dev` against the bare commands of its own plan, one
 * after the other on the same machine; and the processor time and memory of our processes while the trainer trains.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { parse } from 'yaml';
import { findFreePort } from '../../dist/process/free-port.js';
import { root } from '../../scripts/lib/files.mjs';
import { fail, say, UserError } from '../../scripts/lib/say.mjs';
import { startDev } from './support/dev.mjs';
import { runStage, runtimeBin, trainer, writeDigits } from './support/plan-stage.mjs';

/** @import { HoleValues, Plan } from '../../dist/plan/plan.js' */
/** @typedef {{ cpuSeconds: number, rssBytes: number }} Usage */
/** @typedef {{ share: number, peakMb: number }} Cost `share` of one core */
/** @typedef {Record<string, number>} StageSeconds */

const { values: flags } = parseArgs({
  options: {
    iterations: { type: 'string', default: '6500' }, // more than five minutes of training on two cores
    'save-every': { type: 'string', default: '500' },
  },
});

/** How often our processes are looked at, and how often the watcher asks: seldom enough to cost nothing itself. */
const LOOK_MS = 5000;
/** Of the kernel: the unit of utime and stime. */
const TICKS_PER_SECOND = 100;

const scratch = mkdtempSync(join(tmpdir(), 'anneal-bench-'));
const state = join(scratch, 'state');
const digits = join(scratch, 'digits');
const baseModel = join(trainer, 'base/internvl3-tiny');

/** @param {number} pid @returns {Usage | undefined} */
function usageOf(pid) {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    const rssKb = Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
    return { cpuSeconds: (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND, rssBytes: rssKb * 1024 };
  } catch {
    return undefined; // It has ended.
  }
}

/** What the demo trains, for longer. */
function specOfBench() {
  const spec = parse(readFileSync(join(root, 'examples/laptop.yaml'), 'utf8'));
  spec.model.source.uri = pathToFileURL(baseModel).href;
  spec.data.source.uri = pathToFileURL(digits).href;
  spec.training.iterations = Number(flags.iterations);
  spec.checkpoint = { everyIterations: Number(flags['save-every']) };
  return spec;
}

/**
 * The chain, with what each kept process used while iterations went by.
 * @returns {Promise<{ seconds: StageSeconds, plan: Plan, costs: Record<string, Cost> }>}
 */
async function runChain() {
  const { anneal, end } = await startDev({ scratch, state, agents: 2 });
  try {
    /** @type {{ children: readonly { name: string, pid: number }[] }} */
    const { children } = JSON.parse(readFileSync(join(state, 'dev.json'), 'utf8'));
    const handle = await anneal.runs.start(specOfBench());
    /** @type {{ atMs: number, usage: Map<string, Usage> }[]} */
    const looks = [];
    for await (const event of handle.watch({ pollMs: LOOK_MS })) {
      if (event.type !== 'progress' || event.stage !== 'train' || (event.done ?? 0) === 0) continue;
      const usage = new Map(
        children.flatMap(({ name, pid }) => {
          const one = usageOf(pid);
          return one === undefined ? [] : [/** @type {const} */ ([name, one])];
        }),
      );
      looks.push({ atMs: performance.now(), usage });
    }
    const { stages } = await handle.result();
    const seconds = Object.fromEntries(
      stages.map(({ stage, startedAt = 0, endedAt = 0 }) => [stage, (endedAt - startedAt) / 1000]),
    );
    const plan = JSON.parse(readFileSync(join(state, 'store/runs', handle.runId, 'plan.json'), 'utf8'));
    return { seconds, plan, costs: costsOf(looks) };
  } finally {
    await end();
  }
}

/** @param {readonly { atMs: number, usage: Map<string, Usage> }[]} looks @returns {Record<string, Cost>} */
function costsOf(looks) {
  const [first, last] = [looks[0], looks.at(-1)];
  if (first === undefined || last === undefined || first === last)
    throw new UserError('The training was too short to be looked at twice. Take more --iterations.');
  const wall = (last.atMs - first.atMs) / 1000;
  return Object.fromEntries(
    [...last.usage].map(([name, { cpuSeconds }]) => [
      name,
      {
        share: (cpuSeconds - (first.usage.get(name)?.cpuSeconds ?? 0)) / wall,
        peakMb: Math.max(...looks.map(({ usage }) => usage.get(name)?.rssBytes ?? 0)) / 1e6,
      },
    ]),
  );
}

/**
 * The same commands as somebody would type them, in folders of their own; both nodes share one save folder, as they would on
 * one machine.
 * @param {Plan} plan
 * @returns {Promise<StageSeconds>}
 */
async function runBare(plan) {
  const at = join(scratch, 'bare');
  const port = await findFreePort();
  const of = (/** @type {string} */ stage, /** @type {string} */ folder) => join(at, stage, folder);
  /** @type {HoleValues} */
  const values = {
    trainerHome: trainer,
    toolsHome: trainer,
    sourceData: digits,
    baseModel,
    converted: of('convert', 'converted'),
    dataset: of('prepare', 'dataset'),
    load: of('convert', 'converted'),
    save: of('train', 'save'),
    trained: of('train', 'save'),
    published: of('publish', 'published'),
    masterAddress: '127.0.0.1',
    masterPort: String(port),
  };
  /** @type {StageSeconds} */
  const seconds = {};
  for (const stage of /** @type {const} */ (['convert', 'prepare', 'train', 'publish', 'evaluate'])) {
    const startMs = performance.now();
    const nodes = stage === 'train' ? plan.gang.hosts : 1;
    const ends = Array.from({ length: nodes }, (_, nodeRank) =>
      runStage(plan.stages[stage], { ...values, work: join(at, stage), nodeRank: String(nodeRank) }),
    );
    await Promise.all(ends);
    seconds[stage] = (performance.now() - startMs) / 1000;
  }
  return seconds;
}

async function main() {
  if (!existsSync(join(runtimeBin, 'torchrun')))
    throw new UserError('The Python environment is missing. Make it: npm run setup');
  await writeDigits(digits);
  say(
    `${flags.iterations} iterations, saved every ${flags['save-every']}, on ${cpus().length} cores: first the chain, then its bare commands.`,
  );
  const { seconds: chain, plan, costs } = await runChain();
  const bare = await runBare(plan);
  say(`\n${'STAGE'.padEnd(10)}${'CHAIN s'.padStart(9)}${'BARE s'.padStart(9)}${'RATIO'.padStart(8)}`);
  let [chainTotal, bareTotal] = [0, 0];
  for (const [stage, took] of Object.entries(chain)) {
    const alone = bare[stage];
    chainTotal += took;
    bareTotal += alone ?? 0;
    const ratio = alone === undefined ? '-' : (took / alone).toFixed(3);
    say(
      `${stage.padEnd(10)}${took.toFixed(1).padStart(9)}${(alone?.toFixed(1) ?? '-').padStart(9)}${ratio.padStart(8)}`,
    );
  }
  const ratio = (chainTotal / bareTotal).toFixed(3);
  say(`${'all'.padEnd(10)}${chainTotal.toFixed(1).padStart(9)}${bareTotal.toFixed(1).padStart(9)}${ratio.padStart(8)}`);
  say(`\n${'PROCESS'.padEnd(10)}${'OF A CORE'.padStart(11)}${'PEAK MB'.padStart(9)}   while the trainer trained`);
  for (const [name, { share, peakMb }] of Object.entries(costs))
    say(`${name.padEnd(10)}${`${(share * 100).toFixed(2)} %`.padStart(11)}${peakMb.toFixed(0).padStart(9)}`);
}

try {
  await main();
  rmSync(scratch, { recursive: true, force: true });
} catch (error) {
  fail(error);
}

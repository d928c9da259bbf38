/** What a run must not leave behind, and what it must: looked for in /proc, in the pool, in the store and in the histories. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { RunHandle } from '../../../src/client/index.js';
import { poolWorkflowId, runWorkflowId, trainWorkflowId } from '../../../src/contract/names.js';
import { checkpointPrefix, runFolder } from '../../../src/contract/store-keys.js';
import { foldRunLog, type RunFact } from '../../../src/plan/run-log.js';
import { environmentOf } from '../../../src/process/proc.js';
import { poll } from '../../../src/process/wait.js';
import { openStore } from '../../../src/storage/open-store.js';
import { parseStoreAddress } from '../../../src/storage/store-settings.js';
import { verifyFileSet } from '../../../src/storage/verify.js';
import { commandLine } from '../folder-processes.mjs';
import { unreplayable } from '../replay.js';
import { filesBelow, readLog } from '../run-files.js';
import type { ChaosCluster } from './cluster.js';
import type { Undisturbed } from './ground.js';
import { ITERATIONS } from './schedule.js';

/** The lease of a trainer that nobody observes, its grace, and what a busy machine adds. */
const ENDS_MS = 60_000;
const FREE_MS = 90_000;

/** Sentences; none of a round that went as promised. `damaged` are the prefixes of commits that a fault has damaged. */
export async function problemsOf(
  cluster: ChaosCluster,
  run: RunHandle,
  calm: Undisturbed,
  digest: string,
  damaged: ReadonlySet<string>,
): Promise<readonly string[]> {
  return [
    ...(digest === calm.digest ? [] : [`The weights are ${digest}; undisturbed they are ${calm.digest}.`]),
    ...(await wrongRecord(run, calm)),
    ...(await livingProcesses(run.runId)),
    ...(await heldHosts(cluster)),
    ...(await wrongObjects(cluster, run.runId, damaged)),
    ...(await unreplayable(cluster.address, workflowsOf(cluster, run.runId))),
  ];
}

const workflowsOf = ({ name }: ChaosCluster, runId: string): readonly string[] => [
  runWorkflowId(runId),
  trainWorkflowId(runId),
  poolWorkflowId(name),
];

/** Each iteration stands once in the loss record, with the loss that it has undisturbed. */
async function wrongRecord(run: RunHandle, { losses }: Undisturbed): Promise<readonly string[]> {
  const { rows, key } = await run.metrics();
  const standing = rows.filter(({ rolledBackBy }) => rolledBackBy === undefined);
  const problems = key === undefined ? ['The loss record is not finished.'] : [];
  for (let iteration = 1; iteration <= ITERATIONS; iteration += 1) {
    const found = standing.filter((row) => row.iteration === iteration);
    if (found.length !== 1)
      problems.push(`Iteration ${String(iteration)} stands ${String(found.length)} times in the loss record.`);
    else if (found[0]?.loss !== losses.get(iteration))
      problems.push(
        `The loss of iteration ${String(iteration)} is ${String(found[0]?.loss)}; undisturbed it is ${String(losses.get(iteration))}.`,
      );
  }
  return problems;
}

async function livingProcesses(runId: string): Promise<readonly string[]> {
  const find = (): readonly number[] =>
    readdirSync('/proc')
      .map(Number)
      .filter((pid) => Number.isInteger(pid) && environmentOf(pid).includes(`ANNEAL_RUN_ID=${runId}`));
  await poll(() => (find().length === 0 ? true : undefined), { timeoutMs: ENDS_MS, pollMs: 200 });
  return find().map((pid) => `Process ${String(pid)} of the run lives: ${commandLine(pid).join(' ')}`);
}

async function heldHosts({ anneal, hosts }: ChaosCluster): Promise<readonly string[]> {
  const held = async (): Promise<readonly string[]> => {
    const found = await anneal.hosts.list().catch(() => undefined);
    if (found === undefined) return ['The pool does not answer.'];
    const missing = found.length === hosts.length ? [] : [`The pool knows ${String(found.length)} hosts.`];
    const bad = found.filter(({ live, owner, vacating }) => !live || owner !== null || vacating !== null);
    return [
      ...missing,
      ...bad.map(
        ({ facts, live, owner, vacating }) =>
          `Host ${facts.name} is not free: ${JSON.stringify({ live, owner, vacating })}`,
      ),
    ];
  };
  await poll(async () => ((await held()).length === 0 ? true : undefined), { timeoutMs: FREE_MS, pollMs: 200 });
  return held();
}

const NUMBER = String.raw`\d{6}`;
/** What a run may have in its folder; checkpoints are looked at one by one. */
const KNOWN = [
  /^(spec|plan)\.json$/,
  new RegExp(`^log/${NUMBER}\\.json$`),
  /^logs\/[\w-]+\/\d{12}\.log$/,
  new RegExp(`^incidents/${NUMBER}-\\d+(-recovered)?\\.json$`),
  new RegExp(`^incidents/${NUMBER}/node-\\d+/[\\w.-]+$`),
  /^(incidents|metrics)(-g\d+)?\.jsonl$/,
];

/** Every commit that stands is whole, what was dropped as too old is gone, and nothing lies where no collection of garbage would look. */
async function wrongObjects(
  cluster: ChaosCluster,
  runId: string,
  damaged: ReadonlySet<string>,
): Promise<readonly string[]> {
  const problems: string[] = [];
  const facts = await readLog(cluster, runId);
  const names = await filesBelow(join(cluster.storeFolder, 'runs', runId));
  const opened = facts.flatMap((fact) => (fact.fact === 'open' ? [fact.generation] : []));
  for (const name of names) {
    const generation = /^checkpoints\/g(\d+)\/iter_\d{7}\//.exec(name)?.[1];
    const isKnown =
      generation === undefined ? KNOWN.some((known) => known.test(name)) : opened.includes(Number(generation));
    if (!isKnown) problems.push(`Nothing refers to ${runFolder(runId)}${name}.`);
  }
  for (const fact of facts)
    if (isTooOld(fact)) {
      const prefix = checkpointPrefix(runId, fact.generation, fact.iteration).slice(runFolder(runId).length);
      const left = names.filter((name) => name.startsWith(prefix));
      if (left.length > 0) problems.push(`Of a dropped commit there is still ${left.join(', ')}.`);
    }
  const store = await openStore(parseStoreAddress(cluster.anneal.place.store ?? ''));
  for (const { checkpoint } of foldRunLog(facts).commits) {
    if (damaged.has(checkpoint.prefix)) continue;
    problems.push(...(await verifyFileSet(store, checkpoint)).map(({ message }) => message));
  }
  return problems;
}

const isTooOld = (fact: RunFact): fact is Extract<RunFact, { fact: 'drop' }> =>
  fact.fact === 'drop' && fact.reason === 'too old';

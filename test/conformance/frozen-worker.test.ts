/**
 * A control worker is frozen in the middle of each create-once write of the product, and thawed when another attempt has long done its work
 * and things have gone on: nothing that anybody reads has changed by it. Real processes, a real SIGSTOP and a real store; that Temporal
 * gives a frozen worker's work to another one is shown by `test/e2e/saves.test.ts`.
 */
import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFailed, test } from 'vitest';
import { writeRunDocuments } from '../../src/activities/run-documents.js';
import type { ControlActivities, PromoteInput } from '../../src/contract/activities.js';
import type { Incident } from '../../src/contract/messages.js';
import {
  checkpointPrefix,
  incidentsPrefix,
  logChunkKey,
  looseSpecKey,
  metricsLogName,
  nodeManifestName,
  planKey,
  promotionPrefix,
  resumePrefix,
  retrainPrefix,
  runLogPrefix,
  savedName,
  specKey,
} from '../../src/contract/store-keys.js';
import type { RunFact } from '../../src/plan/run-log.js';
import { appendFact, factKey } from '../../src/storage/facts.js';
import { fileSetOf } from '../../src/storage/file-set.js';
import { FolderStore } from '../../src/storage/folder-store.js';
import { canonicalJson, sha256Hex } from '../../src/storage/hashing.js';
import { attempt, controlActivities, type ControlAct } from '../support/control-act.js';
import { demoPlan, demoSpec } from '../support/demo-plan.js';
import { scratchFolder } from '../support/scratch.js';
import { tsProgram, type TsProgram } from '../support/ts-child.js';
import { until } from '../support/until.js';

const spec = demoSpec();
const plan = demoPlan(spec);

const ref = (digest: string) => ({ prefix: `artifacts/${digest}/`, manifestKey: `artifacts/${digest}.json`, digest });
const open = (generation: number, fromIteration: number): RunFact => ({
  ...{ fact: 'open', generation, fromIteration, hosts: ['host-a', 'host-b'] },
});
const commit = (iteration: number, generation = 1): RunFact => ({
  ...{ fact: 'commit', generation, iteration, checkpoint: ref(`g${String(generation)}-${String(iteration)}`) },
});
const drop = (iteration: number): RunFact => ({
  ...{ fact: 'drop', generation: 1, iteration, reason: 'too old', why: 'Only the last 2 are kept.' },
});
const incident: Incident = {
  ...{ at: 1_764_000_000_000, generation: 1, host: 'host-a', failure: 'TrainerFailed', message: 'Killed.' },
  ...{ decision: 'Starts a new generation.', iterationsLost: 5, secondsToDecide: 1 },
};
const news = (incidents: readonly Incident[]) => ({ generation: 2, committedIteration: 20, incidents });
const promotion = (runId: string, model: string): PromoteInput => ({
  model,
  promotion: {
    ...{ runId, accuracy: 0.9, weightsDigest: runId, data: { fingerprint: 'f', at: 1 }, published: ref(runId) },
  },
});
const append = (runId: string, number: number, ...facts: readonly RunFact[]): ControlAct => ({
  ...{ activity: 'appendRunFacts', input: { runId, number, facts } },
});

interface Case {
  readonly what: string;
  /** The end of the key at whose creation it freezes. */
  readonly at: string;
  readonly act: ControlAct;
  readonly before?: (store: FolderStore) => Promise<unknown>;
  /** What another worker does in its place; left out, the same. */
  readonly instead?: ControlAct;
  /** What goes on before the thaw. */
  readonly then?: readonly ControlAct[];
  /** What the thawed attempt comes to; left out, what the one in its place came to. */
  readonly outcome?: unknown;
}

/** A whole save of every node, as agents ship it. */
async function shipped(store: FolderStore, runId: string): Promise<void> {
  await writeRunDocuments(store, runId, spec, plan);
  const prefix = checkpointPrefix(runId, 1, 20);
  const { checkpointFiles, hosts } = plan.gang;
  for (let nodeRank = 0; nodeRank < hosts; nodeRank += 1) {
    const files = checkpointFiles.filter(({ writtenBy }) => writtenBy === nodeRank);
    for (const { path } of files) await store.create(`${prefix}${path}`, path);
    const set = fileSetOf(
      files.map(({ path }) => ({ path, sizeBytes: Buffer.byteLength(path), sha256: sha256Hex(path) })),
    );
    await store.create(`${prefix}${nodeManifestName(nodeRank)}`, canonicalJson(set));
  }
  await store.create(`${prefix}${savedName}`, '{}');
}

/** A training that has ended, with what was measured and one incident. */
async function ended(store: FolderStore, runId: string): Promise<void> {
  await appendFact(store, runLogPrefix(runId), 1, open(1, 0));
  const measured = { iteration: 1, loss: '0x1.0000000000000p+1', grad_norm: '0x0.0p+0', lr: '0x0.0p+0' };
  const line = JSON.stringify({ ...measured, consumed_samples: 64, seconds: 0.1, time: 0.5 });
  await store.create(logChunkKey(runId, metricsLogName(1), 0), `${line}\n`);
  await attempt(store, { activity: 'tellRun', input: { runId, news: news([incident]) } });
}

const retrain = { runId: 'r', spec: 's', data: { fingerprint: 'f', at: 1 }, outcome: 'promoted' } as const;
const choice = (request: string): ControlAct => ({
  ...{ activity: 'choosePromotion', input: { request, why: 'by hand', choice: { model: 'chosen', rollBackTo: null } } },
});

const CASES: readonly Case[] = [
  {
    what: 'the spec of a run',
    at: specKey('opened'),
    act: { activity: 'openRun', input: { runId: 'opened', cluster: 'c', spec } },
  },
  {
    what: 'the plan of a run',
    at: planKey('planned'),
    act: { activity: 'openRun', input: { runId: 'planned', cluster: 'c', spec } },
  },
  {
    what: 'the spec of a schedule',
    at: looseSpecKey(sha256Hex(canonicalJson(spec))),
    act: { activity: 'openRetrain', input: { cluster: 'c', spec, from: 'base' } },
  },
  {
    what: 'a resume point',
    at: factKey(resumePrefix('key'), 1),
    act: {
      activity: 'recordResumePoint',
      input: { runId: 'r', stageKey: 'key', number: 1, result: { artifacts: {}, facts: {} } },
    },
    // A run that met damage made it again.
    then: [
      {
        activity: 'recordResumePoint',
        input: { runId: 'r2', stageKey: 'key', number: 2, result: { artifacts: { data: ref('new') }, facts: {} } },
      },
    ],
  },
  {
    what: 'the open of a generation',
    at: factKey(runLogPrefix('log-open'), 1),
    act: append('log-open', 1, open(1, 0)),
    then: [append('log-open', 2, commit(10)), append('log-open', 3, open(2, 10))],
  },
  {
    what: 'a commit',
    at: factKey(runLogPrefix('log-commit'), 2),
    act: append('log-commit', 2, commit(10)),
    before: (store) => appendFact(store, runLogPrefix('log-commit'), 1, open(1, 0)),
    then: [append('log-commit', 3, open(2, 10))],
  },
  {
    what: 'a drop that goes with a commit',
    at: factKey(runLogPrefix('log-drop'), 2),
    act: append('log-drop', 1, commit(30), drop(10)),
    then: [append('log-drop', 3, open(2, 30))],
  },
  {
    what: 'a commit in whose place another one was decided on',
    at: factKey(runLogPrefix('log-other'), 1),
    act: append('log-other', 1, commit(10)),
    instead: append('log-other', 1, open(2, 0)),
    outcome: { failure: 'FactConflict' },
  },
  {
    what: 'an incident',
    at: `${incidentsPrefix('told')}000001-1764000000000.json`,
    act: { activity: 'tellRun', input: { runId: 'told', news: news([incident]) } },
    then: [
      {
        activity: 'tellRun',
        input: {
          runId: 'told',
          news: news([{ ...incident, restored: { localBytes: 1, downloadedBytes: 0 }, secondsToNewIteration: 9 }]),
        },
      },
    ],
  },
  {
    what: 'an incident that comes with a commit',
    at: `${incidentsPrefix('told-late')}000001-1764000000000-recovered.json`,
    act: {
      activity: 'appendRunFacts',
      input: {
        runId: 'told-late',
        number: 1,
        facts: [commit(10)],
        news: news([{ ...incident, secondsToNewIteration: 9 }]),
      },
    },
    then: [append('told-late', 2, open(2, 10))],
  },
  {
    what: 'the manifest of a checkpoint',
    at: `${checkpointPrefix('saved', 1, 20)}manifest.json`,
    act: { activity: 'watchSaves', input: { runId: 'saved', generation: 1, afterIteration: 0, once: true } },
    before: (store) => shipped(store, 'saved'),
    then: [append('saved', 1, open(1, 0)), append('saved', 2, commit(20)), append('saved', 3, open(2, 20))],
  },
  {
    what: 'the loss record',
    at: 'runs/measured/metrics.jsonl',
    act: { activity: 'recordMetrics', input: { runId: 'measured' } },
    before: (store) => ended(store, 'measured'),
  },
  {
    what: 'the list of incidents',
    at: 'runs/listed/incidents.jsonl',
    act: { activity: 'recordMetrics', input: { runId: 'listed' } },
    before: (store) => ended(store, 'listed'),
  },
  {
    what: 'a promotion, after which another model was promoted',
    at: factKey(promotionPrefix('promoted'), 1),
    act: { activity: 'promote', input: promotion('first', 'promoted') },
    then: [{ activity: 'promote', input: promotion('second', 'promoted') }],
  },
  {
    what: 'a promotion, in whose place another one was faster, and which was rolled back since',
    at: factKey(promotionPrefix('rolled-back'), 2),
    act: { activity: 'promote', input: promotion('late', 'rolled-back') },
    before: (store) => attempt(store, { activity: 'promote', input: promotion('old', 'rolled-back') }),
    instead: { activity: 'promote', input: promotion('faster', 'rolled-back') },
    then: [
      { activity: 'promote', input: promotion('late', 'rolled-back') },
      {
        activity: 'choosePromotion',
        input: { request: 'r', why: 'bad', choice: { model: 'rolled-back', rollBackTo: null } },
      },
    ],
    // It has lost the race, looks again, and finds what the other attempt of it has promoted since.
    outcome: { result: { number: 3 } },
  },
  {
    what: 'a rollback by hand, after which a new model was promoted',
    at: factKey(promotionPrefix('chosen'), 3),
    act: choice('request'),
    before: async (store) => {
      for (const runId of ['one', 'two'])
        await attempt(store, { activity: 'promote', input: promotion(runId, 'chosen') });
    },
    then: [{ activity: 'promote', input: promotion('three', 'chosen') }],
  },
  {
    what: 'the fact of a retrain',
    at: factKey(retrainPrefix('retrained'), 1),
    act: { activity: 'recordRetrain', input: { model: 'retrained', retrain } },
    then: [{ activity: 'recordRetrain', input: { model: 'retrained', retrain: { ...retrain, runId: 'later' } } }],
  },
];

/** Activities of the control worker that create nothing in the store. */
const READERS: readonly (keyof ControlActivities)[] = [
  ...([
    'findResumePoint',
    'readRunLog',
    'findDamage',
    'findEarlierCommit',
    'lastWords',
    'deleteDropped',
    'pickHost',
  ] as const),
  ...(['lookAtModel', 'watchHosts'] as const),
];

interface Said {
  readonly frozen?: string;
  readonly isMine?: boolean;
  readonly outcome?: unknown;
}

let program: TsProgram;
let worker: ChildProcess | undefined;
let lines: AsyncIterator<string>;

beforeAll(async () => {
  program = await tsProgram('test/conformance/children/frozen-worker.ts');
});
afterAll(async () => {
  worker?.kill('SIGKILL');
  await program.dispose();
});

/** One for all tests, since a start takes a second; after a failure another one, which has not been frozen by it. */
function theWorker(): ChildProcess {
  onTestFailed(() => {
    worker?.kill('SIGKILL');
    worker = undefined;
  });
  if (worker !== undefined) return worker;
  worker = program.start();
  if (worker.stdout === null) throw new Error('The worker has no output.');
  lines = createInterface({ input: worker.stdout })[Symbol.asyncIterator]();
  return worker;
}

async function said(): Promise<Said> {
  const next = await lines.next();
  if (next.done === true) throw new Error('The worker has ended.');
  return JSON.parse(next.value) as Said;
}

const isStopped = ({ pid }: ChildProcess): boolean => / T /.test(readFileSync(`/proc/${String(pid)}/stat`, 'utf8'));

/** All that the store holds: keys with the digests of their bytes. */
async function content(store: FolderStore): Promise<Readonly<Record<string, string>>> {
  const found: Record<string, string> = {};
  for await (const { key } of store.list('')) found[key] = sha256Hex((await store.read(key)) ?? '');
  return found;
}

test('the table has every activity that writes', () => {
  const writers = new Set<string>(CASES.map(({ act }) => act.activity));
  expect([...writers, ...READERS].sort()).toEqual(Object.keys(controlActivities(new FolderStore('/none'))).sort());
});

test.each(CASES)('frozen while it creates $what, it changes nothing when it thaws', async (row) => {
  const folder = join(await scratchFolder(), 'store');
  const store = new FolderStore(folder);
  await row.before?.(store);
  const frozen = theWorker();
  frozen.stdin?.write(`${JSON.stringify({ folder, act: row.act, at: row.at })}\n`);
  expect((await said()).frozen).toMatch(new RegExp(`${row.at.replaceAll('.', '[.]')}$`));
  await until('it is frozen', 10_000, () => isStopped(frozen) || undefined);

  expect(Object.keys(await content(store)).filter((key) => key.endsWith(row.at))).toEqual([]);
  const done = await attempt(store, row.instead ?? row.act);
  for (const act of row.then ?? []) expect(await attempt(store, act)).not.toHaveProperty('failure');
  const before = await content(store);
  expect(Object.keys(before).filter((key) => key.endsWith(row.at))).toHaveLength(1);

  frozen.kill('SIGCONT');
  expect(await said()).toEqual({ isMine: false });
  expect((await said()).outcome).toEqual(row.outcome ?? done);
  expect(await content(store)).toEqual(before);
});

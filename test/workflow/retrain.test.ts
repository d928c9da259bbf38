/** Retrains on a real server and a real store: what is skipped, what the gate compares, who wins a race, what a lost retrain costs. */
import { join } from 'node:path';
import { ApplicationFailure, Context } from '@temporalio/activity';
import { WorkflowFailedError } from '@temporalio/client';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { FineTuneResult, RetrainInput, RetrainResult } from '../../src/contract/messages.js';
import { runWorkflowId } from '../../src/contract/names.js';
import { promotionPrefix, retrainPrefix } from '../../src/contract/store-keys.js';
import type { PromotionFact, RetrainFact } from '../../src/plan/promotions.js';
import { readFacts } from '../../src/storage/facts.js';
import { FolderStore } from '../../src/storage/folder-store.js';
import { FakeCluster, ref, type Behaviour } from '../support/fake-cluster.js';
import { scratchFolder } from '../support/scratch.js';
import { startTemporal, type TestServer } from '../support/temporal.js';
import { until } from '../support/until.js';

let server: TestServer;
let fake: FakeCluster;
let store: FolderStore;
let clusters = 0;

beforeAll(async () => {
  server = await startTemporal();
});
afterEach(() => fake.stop());
afterAll(() => server.stop());

/** Accuracy of each model: of the one that training begins from, and of the results by run id. */
type Accuracies = Readonly<Record<string, number>>;

/** Workflow ids are the server's, which all tests of this file share; the tests speak of runs without the cluster's name. */
const own = (name: string): string => `${fake.name}-${name}`;
const bare = (runId: string): string => runId.slice(own('').length);

/** Every run makes a model of its own, and the judge finds of each what the table says. */
function judging(accuracies: Accuracies): NonNullable<Behaviour['result']> {
  const of = (digest = ''): number => accuracies[digest] ?? Number.NaN;
  return (stage, { runId, inputs }) => {
    if (stage === 'publish') return { artifacts: { published: ref(bare(runId)) } };
    if (stage !== 'evaluate') return undefined;
    const [baseAccuracy, accuracy] = [of(inputs.model?.digest), of(inputs.published?.digest)];
    return { facts: { baseAccuracy, accuracy, weightsDigest: runId } };
  };
}

async function start(accuracies: Accuracies, behaviour: Behaviour = {}): Promise<void> {
  clusters += 1;
  store = new FolderStore(join(await scratchFolder(), 'store'));
  const name = `r${String(clusters)}`;
  fake = await FakeCluster.start(server.address, name, { store, result: judging(accuracies), ...behaviour });
}

type Retraining = Awaited<ReturnType<FakeCluster['retrain']>>;

const begin = (name: string, from?: RetrainInput['from']): Promise<Retraining> => fake.retrain(own(name), from);
const ended = async (retraining: Retraining): Promise<RetrainResult> => {
  const result = await retraining.result();
  return { ...result, runId: bare(result.runId) };
};
const retrain = async (name: string, from?: RetrainInput['from']): Promise<RetrainResult> =>
  ended(await begin(name, from));

const withBareRun = <Fact extends { readonly runId: string }>(fact: Fact): Fact => ({
  ...fact,
  runId: bare(fact.runId),
});
const promotions = async (): Promise<readonly PromotionFact[]> =>
  (await readFacts(store, promotionPrefix('digits'))).map(({ body }) => withBareRun(body as PromotionFact));
const retrains = async (): Promise<readonly RetrainFact[]> =>
  (await readFacts(store, retrainPrefix('digits'))).map(({ body }) => withBareRun(body as RetrainFact));

/** A gate that a test opens. */
function gate() {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { open, opened };
}

async function heldAt(opened: Promise<void>): Promise<void> {
  const context = Context.current();
  const beats = setInterval(() => {
    context.heartbeat();
  }, 200);
  await Promise.race([opened, context.cancelled]).finally(() => {
    clearInterval(beats);
  });
}

describe('a retrain', () => {
  test('trains and promotes, skips what has not changed, and trains again when it has', async () => {
    let content = 'one';
    await start({ model: 0.1, r1: 0.9, r3: 0.95 }, { fingerprint: () => content });
    expect(await retrain('r1')).toMatchObject({ outcome: 'promoted', runId: 'r1', promotion: 1, baseAccuracy: 0.1 });
    const acts = fake.acts.length;
    const skipped = await begin('r2');
    expect(await ended(skipped)).toMatchObject({
      outcome: 'skipped: unchanged',
      runId: 'r1',
      why: `file:///data holds what run ${own('r1')} was trained on.`,
    });
    expect(fake.acts.slice(acts)).toEqual([]);
    content = 'two';
    // The promoted model stands where the base stood: the gate compares with it.
    expect(await retrain('r3')).toMatchObject({ outcome: 'promoted', promotion: 2, baseAccuracy: 0.9 });
    expect(await promotions()).toMatchObject([
      { runId: 'r1', base: 0, data: { fingerprint: 'one' } },
      { runId: 'r3', base: 1, data: { fingerprint: 'two' } },
    ]);
    expect((await retrains()).map(({ runId, outcome }) => `${runId} ${outcome}`)).toEqual([
      'r1 promoted',
      'r3 promoted',
    ]);
    const outcome = async (): Promise<string | undefined> => {
      const { typedSearchAttributes } = await skipped.describe();
      return typedSearchAttributes.getAll().find(({ key }) => key.name === 'AnnealOutcome')?.value as
        string | undefined;
    };
    expect(await outcome()).toBe('skipped: unchanged');
  });

  test('gives its run the pinned content and does not look at the source again', async () => {
    let looks = 0;
    await start({ model: 0.1, r1: 0.9 }, { fingerprint: () => `look ${String((looks += 1))}` });
    const { data } = await retrain('r1');
    // The retrain's own look, and the run's look at its model.
    expect(looks).toBe(2);
    expect(data.fingerprint).toBe('look 1');
    expect(await promotions()).toMatchObject([{ data: { fingerprint: 'look 1' } }]);
  });

  test('replays at each of its tasks', async () => {
    await start({ model: 0.1, r1: 0.9 }, { replays: true });
    expect(await retrain('r1')).toMatchObject({ outcome: 'promoted' });
    expect(await retrain('r2')).toMatchObject({ outcome: 'skipped: unchanged' });
  });

  test('from the promoted model converts that one, and the base while nothing is promoted', async () => {
    let content = 'one';
    const converted: (string | undefined)[] = [];
    const results = judging({ model: 0.1, r1: 0.9, r2: 0.95 });
    await start(
      {},
      {
        fingerprint: () => content,
        result: (stage, input) => {
          if (stage === 'convert') converted.push(input.inputs.model?.digest);
          return results(stage, input);
        },
      },
    );
    await retrain('r1', 'promoted');
    content = 'two';
    await retrain('r2', 'promoted');
    expect(converted).toEqual(['model', 'r1']);
    expect(fake.acts.filter((act) => act.startsWith('fetch-model'))).toHaveLength(1);
  });

  test('is rejected by a promoted model that is better, and not tried again on the same data', async () => {
    let content = 'one';
    await start({ model: 0.1, r1: 0.9, r2: 0.8 }, { fingerprint: () => content });
    await retrain('r1');
    content = 'two';
    const rejected = await retrain('r2');
    expect(rejected).toMatchObject({ outcome: 'rejected', accuracy: 0.8, baseAccuracy: 0.9 });
    expect(rejected.why).toContain('below the 0.9000 of promotion 1 on the same held-out rows');
    expect(await promotions()).toHaveLength(1);
    expect(await retrain('r3')).toMatchObject({ outcome: 'skipped: unchanged', runId: 'r2' });
  });

  test('that failed leaves no fact, so the next one tries the same data again', async () => {
    let isBroken = true;
    const failure = ApplicationFailure.nonRetryable('Row 7 has no image.', 'DataRefused');
    await start(
      { model: 0.1, r2: 0.9 },
      { stage: (item) => (item === 'prepare' && isBroken ? Promise.reject(failure) : Promise.resolve()) },
    );
    const error: unknown = await retrain('r1').catch((thrown: unknown) => thrown);
    expect((error as WorkflowFailedError).cause).toMatchObject({ type: 'DataRefused' });
    expect((error as WorkflowFailedError).cause?.message).toContain('Row 7 has no image.');
    isBroken = false;
    expect(await retrain('r2')).toMatchObject({ outcome: 'promoted' });
    expect((await retrains()).map(({ runId }) => runId)).toEqual(['r2']);
  });

  test('that is cancelled stops its run as well', async () => {
    const { opened } = gate();
    await start({}, { stage: (item) => (item === 'prepare' ? heldAt(opened) : Promise.resolve()) });
    const retraining = await begin('r1');
    await until('the run prepares', 20_000, () => fake.acts.find((act) => act.startsWith('prepare')));
    await retraining.cancel();
    await expect(retraining.result()).rejects.toThrow(WorkflowFailedError);
    const run = await fake.client.workflow.getHandle(runWorkflowId(own('r1'))).describe();
    expect(run.status.name).toBe('CANCELLED');
  });

  test('that is lost costs nothing: its run goes on, promotes and leaves the fact', async () => {
    const { open, opened } = gate();
    await start(
      { model: 0.1, r1: 0.9 },
      { stage: (item) => (item === 'prepare' ? heldAt(opened) : Promise.resolve()) },
    );
    const lost = await begin('r1');
    await until('the run prepares', 20_000, () => fake.acts.find((act) => act.startsWith('prepare')));
    await lost.terminate('lost');
    open();
    const result = (await fake.client.workflow.getHandle(runWorkflowId(own('r1'))).result()) as FineTuneResult;
    expect(result).toMatchObject({ outcome: 'promoted', promotion: 1 });
    expect(await retrain('r2')).toMatchObject({ outcome: 'skipped: unchanged', runId: 'r1' });
  });
});

describe('two retrains that overlap', () => {
  /** `older` reads its data before `newer`; each waits in its publish stage until the test lets it go. */
  async function overlap(accuracies: Accuracies, ends: readonly ('older' | 'newer')[]) {
    const gates = { older: gate(), newer: gate() };
    const publishing: string[] = [];
    let content = 'old';
    const judge = judging(accuracies);
    await start(accuracies, {
      fingerprint: () => content,
      result: async (stage, input) => {
        const run = bare(input.runId);
        if (stage === 'publish' && (run === 'older' || run === 'newer')) {
          publishing.push(run);
          await heldAt(gates[run].opened);
        }
        return judge(stage, input);
      },
    });
    const older = await begin('older');
    await until('the older one publishes', 30_000, () => publishing.includes('older') || undefined);
    content = 'new';
    const newer = await begin('newer');
    await until('the newer one publishes', 30_000, () => publishing.includes('newer') || undefined);
    const running = { older, newer };
    const results: RetrainResult[] = [];
    for (const name of ends) {
      gates[name].open();
      results.push(await ended(running[name]));
    }
    return { results, promoted: (await promotions()).map(({ runId, base }) => `${runId} on ${String(base)}`) };
  }

  test('the older ends first: the newer is compared with it and takes its place', async () => {
    const { results, promoted } = await overlap({ model: 0.1, older: 0.8, newer: 0.9 }, ['older', 'newer']);
    expect(results).toMatchObject([
      { outcome: 'promoted', promotion: 1, baseAccuracy: 0.1 },
      { outcome: 'promoted', promotion: 2, baseAccuracy: 0.8 },
    ]);
    expect(promoted).toEqual(['older on 0', 'newer on 1']);
  });

  test('the newer ends first: the older never replaces it, however good it is', async () => {
    const { results, promoted } = await overlap({ model: 0.1, older: 0.99, newer: 0.9 }, ['newer', 'older']);
    expect(results).toMatchObject([
      { outcome: 'promoted', promotion: 1 },
      { outcome: 'superseded', why: 'Promotion 1 of digits was trained on newer data.' },
    ]);
    expect(promoted).toEqual(['newer on 0']);
    // The newest data was trained on, so nothing is left to do.
    expect(await retrain('later')).toMatchObject({ outcome: 'skipped: unchanged', runId: 'newer' });
  });

  test('the newer is worse than the older that was promoted meanwhile: the gate holds', async () => {
    const { results, promoted } = await overlap({ model: 0.1, older: 0.95, newer: 0.9 }, ['older', 'newer']);
    expect(results).toMatchObject([{ outcome: 'promoted' }, { outcome: 'rejected', baseAccuracy: 0.95 }]);
    expect(promoted).toEqual(['older on 0']);
  });
});

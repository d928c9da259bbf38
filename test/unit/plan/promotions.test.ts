/** Which result becomes current: tables of who ends first, what a rollback brings back, and what makes a retrain needless. */
import { describe, expect, test } from 'vitest';
import {
  decidePromotion,
  rollbackTarget,
  unchangedSince,
  whyRejected,
  type Promotion,
  type PromotionFact,
  type RetrainFact,
} from '../../../src/plan/promotions.js';

interface Row {
  readonly run: string;
  /** The time of its data. */
  readonly at: number;
  readonly base?: number;
  /** Left out, the run's own. */
  readonly model?: string;
  readonly bringsBack?: number;
}

function fact({ run, at, base, model = run, bringsBack }: Row): PromotionFact {
  return {
    runId: run,
    published: { prefix: '', manifestKey: '', digest: model },
    ...{ weightsDigest: model, accuracy: 0.9, data: { fingerprint: `content of ${String(at)}`, at } },
    ...(base === undefined ? {} : { base }),
    ...(bringsBack === undefined ? {} : { chosen: { request: 'r', why: 'w', bringsBack } }),
  };
}
const promotions = (...rows: readonly Row[]): readonly Promotion[] =>
  rows.map((row, index) => ({ ...fact(row), number: index + 1 }));

const first: Row = { run: 'a', at: 10 };

describe('a promotion', () => {
  test.each<readonly [what: string, candidate: Row, there: readonly Row[], expected: unknown]>([
    ['the first is taken', { run: 'a', at: 10, base: 0 }, [], { decision: 'append' }],
    ['a gated one on its base is taken', { run: 'b', at: 20, base: 1 }, [first], { decision: 'append' }],
    ['of a submitted run is taken, whatever its data', { run: 'b', at: 5 }, [first], { decision: 'append' }],
    ['made twice by one run is made once', { run: 'a', at: 10, base: 0 }, [first], { decision: 'done', number: 1 }],
    [
      'made twice by one run is made once, also when another came after it',
      { run: 'a', at: 10, base: 0 },
      [first, { run: 'b', at: 20 }],
      { decision: 'done', number: 1 },
    ],
    [
      'of what is current already is none',
      { run: 'b', at: 20, base: 0, model: 'a' },
      [first],
      { decision: 'done', number: 1 },
    ],
    [
      'that newer data has overtaken is none: the newer ended first',
      { run: 'c', at: 20, base: 1 },
      [first, { run: 'b', at: 30, base: 1 }],
      { decision: 'superseded', by: 2 },
    ],
    [
      'of newer data comes after the older one that ended first, once it was compared with it',
      { run: 'c', at: 30, base: 1 },
      [first, { run: 'b', at: 20, base: 1 }],
      { decision: 'judge again', current: { number: 2, runId: 'b' } },
    ],
    [
      'of newer data that was compared with what is current now is taken',
      { run: 'c', at: 30, base: 2 },
      [first, { run: 'b', at: 20, base: 1 }],
      { decision: 'append' },
    ],
    [
      'of data read before those of its own base is none',
      { run: 'b', at: 5, base: 1 },
      [first],
      { decision: 'superseded', by: 1 },
    ],
    [
      'of data read at the same moment is none',
      { run: 'b', at: 10, base: 0 },
      [first],
      { decision: 'superseded', by: 1 },
    ],
    [
      'whose base was rolled back meanwhile is compared with what was brought back',
      { run: 'c', at: 30, base: 2 },
      [first, { run: 'b', at: 20 }, { ...first, bringsBack: 1 }],
      { decision: 'judge again', current: { number: 3, runId: 'a' } },
    ],
    [
      'by hand of a run is not taken for the promotion by that run itself',
      { run: 'a', at: 10, model: 'a2' },
      [{ ...first, bringsBack: 1 }],
      { decision: 'append' },
    ],
  ])('%s', (_what, candidate, there, expected) => {
    expect(decidePromotion(fact(candidate), promotions(...there))).toMatchObject(expected as object);
  });

  // Whatever the order of the ends: each asks until it is through, as the workflow does.
  test.each([
    ['older first', ['older', 'newer']],
    ['newer first', ['newer', 'older']],
  ])('two overlapping retrains, %s: the newer data is current at the end', (_what, order) => {
    const at: Record<string, number> = { older: 20, newer: 30 };
    const there: Promotion[] = [...promotions(first)];
    for (const run of order) {
      let base = 1;
      for (let judgement = 0; judgement < 3; judgement += 1) {
        const candidate = fact({ run, at: at[run] ?? 0, base });
        const decided = decidePromotion(candidate, there);
        if (decided.decision === 'append') there.push({ ...candidate, number: there.length + 1 });
        if (decided.decision !== 'judge again') break;
        base = decided.current.number;
      }
    }
    expect(there.at(-1)?.runId).toBe('newer');
    expect(there).toHaveLength(order[0] === 'older' ? 3 : 2);
  });
});

describe('a rollback', () => {
  const three = promotions(first, { run: 'b', at: 20 }, { run: 'c', at: 30 });
  const back = promotions(first, { run: 'b', at: 20 }, { ...first, bringsBack: 1 });
  test.each<readonly [string, readonly Promotion[], number | null, number | string]>([
    ['goes to the one before', three, null, 2],
    ['goes to the one that is named', three, 1, 1],
    ['refuses a number that is none', three, 7, 'has no promotion 7'],
    ['refuses what is current', three, 3, 'has the model of promotion 3 as its current one already'],
    ['refuses without a promotion', [], null, 'has no promotion yet'],
    ['refuses with a single one', promotions(first), null, 'had no other model before the current one'],
    ['goes further back the second time, not forth again', back, null, 'had no other model before the current one'],
    [
      'goes past a promotion of the same model',
      promotions(first, { run: 'b', at: 20 }, { run: 'd', at: 40, model: 'b' }),
      null,
      1,
    ],
    [
      'after a rollback and a new model goes to what was current before that',
      promotions(first, { run: 'b', at: 20 }, { ...first, bringsBack: 1 }, { run: 'd', at: 40 }),
      null,
      3,
    ],
  ])('%s', (_what, there, to, expected) => {
    const target = rollbackTarget(there, to);
    expect(typeof target === 'string' ? target : target.number).toBe(expected);
  });
});

describe('the gate', () => {
  test.each<readonly [number, number, number | undefined, RegExp | undefined]>([
    [0.9, 0.9, undefined, undefined],
    [0.89, 0.9, undefined, /0\.8900 is below the minimum 0\.9000/],
    [0.95, 0.9, 0.95, undefined],
    [0.94, 0.9, 0.95, /0\.9400 is below the 0\.9500 of promotion 4 on the same held-out rows/],
  ])('accuracy %s, minimum %s, promoted %s', (accuracy, minimumAccuracy, promoted, expected) => {
    const rival = promoted === undefined ? {} : { promoted: { number: 4, accuracy: promoted } };
    const why = whyRejected({ accuracy, minimumAccuracy, ...rival });
    if (expected === undefined) expect(why).toBeUndefined();
    else expect(why).toMatch(expected);
  });
});

describe('a retrain is needless', () => {
  const retrain = (runId: string, at: number, fingerprint: string, spec = 's'): RetrainFact => ({
    ...{ runId, spec, outcome: 'rejected', data: { fingerprint, at } },
  });
  test.each<readonly [string, readonly RetrainFact[], string | undefined]>([
    ['never without an earlier one', [], undefined],
    ['after one on this content', [retrain('a', 1, 'new')], 'a'],
    ['not after one on other content', [retrain('a', 1, 'old')], undefined],
    ['not after one by another spec', [retrain('a', 1, 'new', 'other')], undefined],
    ['not when the content has come back to what it was', [retrain('a', 1, 'new'), retrain('b', 2, 'old')], undefined],
    ['by the age of the data, not by which one ended last', [retrain('b', 2, 'new'), retrain('a', 1, 'old')], 'b'],
  ])('%s', (_what, retrains, expected) => {
    expect(unchangedSince(retrains, { spec: 's', fingerprint: 'new' })?.runId).toBe(expected);
  });
});

/** Counting of tests: what a suite reports, what its end makes of that, and the closing line. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import {
  closingLine,
  outcome,
  readJunit,
  readVitest,
  remarks,
  remarksOfVitest,
  sum,
} from '../../../scripts/lib/suites.mjs';

const folder = mkdtempSync(join(tmpdir(), 'anneal-suites-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const vitestReport = (passed: number, failed: number, files: readonly object[] = []): string =>
  JSON.stringify({
    numPassedTests: passed,
    numFailedTests: failed,
    numPendingTests: 1,
    numTodoTests: 0,
    testResults: files,
  });

describe('reports', () => {
  test('vitest: passed, failed and skipped are read', () => {
    expect(readVitest(vitestReport(5, 2))).toEqual({ passed: 5, failed: 2, skipped: 1 });
  });

  test('vitest: a file that does not load counts as a failure though it has no failed test', () => {
    const broken = { status: 'failed', assertionResults: [] };
    const red = { status: 'failed', assertionResults: [{ status: 'failed' }] };
    expect(readVitest(vitestReport(5, 1, [broken, red])).failed).toBe(2);
  });

  test('vitest: what failed, and what passed only on the second try, is named with the first line of its error', () => {
    const assertionResults = [
      { status: 'passed', fullName: 'steady', failureMessages: [] },
      { status: 'passed', fullName: 'shaky', failureMessages: ['Error: too slow\n  at x'] },
      { status: 'failed', fullName: 'red', failureMessages: ['Error: wrong\n  at x', 'Error: wrong again'] },
    ];
    const files = [
      { name: '/a.test.ts', status: 'failed', message: '', assertionResults },
      { name: '/b.test.ts', status: 'failed', message: 'does not load\n  at y', assertionResults: [] },
    ];
    expect(remarksOfVitest(vitestReport(2, 1, files))).toEqual({
      red: [
        expect.stringMatching(/a\.test\.ts: red: Error: wrong$/),
        expect.stringMatching(/b\.test\.ts: does not load$/),
      ],
      shaky: [expect.stringMatching(/a\.test\.ts: shaky: Error: too slow$/)],
    });
  });

  test('a suite without a report has no remarks', () => {
    const suite = { name: 'unit', command: [], report: join(folder, 'none'), read: readVitest, timeoutMs: 1 };
    expect(remarks({ ...suite, remarks: remarksOfVitest })).toEqual({ red: [], shaky: [] });
  });

  test('pytest: errors are failures, and neither those nor skipped ones passed', () => {
    const xml =
      '<?xml version="1.0"?><testsuites name="x"><testsuite name="pytest" errors="1" failures="2" skipped="3" tests="10" time="1.5">';
    expect(readJunit(xml)).toEqual({ passed: 4, failed: 3, skipped: 3 });
  });
});

describe('outcome', () => {
  const suite = (report: string) => ({ name: 'unit', command: [], report, read: readVitest, timeoutMs: 1 });
  const written = (name: string, text: string) => {
    const path = join(folder, name);
    writeFileSync(path, text);
    return suite(path);
  };

  test('a suite that passed is what it reports', () => {
    expect(outcome(written('good', vitestReport(5, 0)), 0)).toEqual({ passed: 5, failed: 0, skipped: 1 });
  });

  test.each([
    ['without a report', suite(join(folder, 'missing')), 0, 'ran no test'],
    ['that ran no test', written('empty', vitestReport(0, 0)), 0, 'ran no test'],
    ['whose report is cut', written('cut', '{"numPassed'), 1, 'wrote a report that does not read'],
    ['that died after its tests', written('died', vitestReport(5, 0)), 134, 'ended with 134 though no test failed'],
  ])('a suite %s has failed and says why', (_, broken, code, why) => {
    expect(outcome(broken, code)).toMatchObject({ failed: 1, why });
  });
});

test('the closing line sums all suites, and names skipped tests only when there are any', () => {
  const total = sum([
    { passed: 5, failed: 0, skipped: 0 },
    { passed: 7, failed: 1, skipped: 2 },
  ]);
  expect(closingLine(total)).toBe('12 passed, 1 failed, 2 skipped');
  expect(closingLine({ ...total, skipped: 0 })).toBe('12 passed, 1 failed');
});

/** The suites of `npm test`: how each is started, and how many of its tests passed, failed and were skipped. */
import { existsSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { root } from './files.mjs';

/** @typedef {{ passed: number, failed: number, skipped: number }} Counts */
/**
 * The tests that a reader must look at: each line is a test's name and the first line of its error.
 * @typedef {object} Remarks
 * @property {readonly string[]} red failed, on the second try too
 * @property {readonly string[]} shaky failed first and passed on the second try
 */
/**
 * @typedef {object} Suite
 * @property {string} name
 * @property {readonly string[]} command
 * @property {string} report where it writes its counts
 * @property {(text: string) => Counts} read
 * @property {(text: string) => Remarks} [remarks] where the report names its tests
 * @property {number} timeoutMs
 * @property {string} [cwd]
 */

/** Of the last run only; ignored by git. */
export const RESULTS = join(root, 'test-results');

const MINUTE_MS = 60_000;

/**
 * @param {string} name a project of vitest.config.ts
 * @param {number} minutes several times what it takes on two cores; more is a hang
 * @returns {Suite}
 */
function vitestSuite(name, minutes) {
  const report = join(RESULTS, `${name}.json`);
  const flags = ['--project', name, '--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const command = [process.execPath, join(root, 'node_modules/vitest/vitest.mjs'), 'run', ...flags];
  return { name, command, report, read: readVitest, remarks: remarksOfVitest, timeoutMs: minutes * MINUTE_MS };
}

const checkReport = join(RESULTS, 'check.json');
const pythonReport = join(RESULTS, 'python.xml');

/** In the order of what they cost: a mistake shows before the long ones start. @type {readonly Suite[]} */
export const suites = [
  {
    name: 'check',
    command: [process.execPath, join(root, 'scripts/check.mjs'), checkReport],
    report: checkReport,
    read: (text) => JSON.parse(text),
    timeoutMs: 25 * MINUTE_MS,
  },
  vitestSuite('unit', 10),
  vitestSuite('conformance', 10),
  vitestSuite('workflow', 15),
  vitestSuite('histories', 10),
  {
    name: 'python',
    command: [join(root, '.venv/bin/python'), '-m', 'pytest', '--color=auto', '-q', `--junit-xml=${pythonReport}`],
    report: pythonReport,
    read: readJunit,
    timeoutMs: 25 * MINUTE_MS,
    cwd: join(root, 'trainer'),
  },
  vitestSuite('e2e', 40),
];

/**
 * vitest's JSON report. A file that does not load has no tests: it counts as one failure, so that it cannot pass unseen.
 * @param {string} text
 * @returns {Counts}
 */
export function readVitest(text) {
  const { numPassedTests, numFailedTests, numPendingTests, numTodoTests, testResults } = JSON.parse(text);
  /** @param {{ status: string, assertionResults: readonly { status: string }[] }} file */
  const isBroken = ({ status, assertionResults }) =>
    status === 'failed' && !assertionResults.some((test) => test.status === 'failed');
  const brokenFiles = (testResults ?? []).filter(isBroken).length;
  return {
    passed: numPassedTests,
    failed: numFailedTests + brokenFiles,
    skipped: numPendingTests + (numTodoTests ?? 0),
  };
}

/**
 * The tests of vitest's JSON report that failed, or passed only when they were tried again (their first error stays in the report).
 * @param {string} text
 * @returns {Remarks}
 */
export function remarksOfVitest(text) {
  /** @type {{ testResults?: readonly { name: string, status: string, message: string, assertionResults: readonly { status: string, fullName: string, failureMessages: readonly string[] }[] }[] }} */
  const { testResults = [] } = JSON.parse(text);
  /** @type {string[]} */
  const red = [];
  /** @type {string[]} */
  const shaky = [];
  for (const { name: path, status, message, assertionResults } of testResults) {
    const file = relative(root, path);
    const lines = assertionResults.filter(({ failureMessages }) => failureMessages.length > 0);
    for (const { status: end, fullName, failureMessages } of lines)
      (end === 'failed' ? red : shaky).push(`${file}: ${fullName}: ${firstLine(failureMessages[0] ?? '')}`);
    if (status === 'failed' && !assertionResults.some((test) => test.status === 'failed'))
      red.push(`${file}: ${firstLine(message)}`);
  }
  return { red, shaky };
}

/** @param {string} text */
const firstLine = (text) => text.split('\n', 1)[0] ?? '';

/**
 * pytest's JUnit report, whose root sums up one testsuite: tests, failures, errors, skipped.
 * @param {string} text
 * @returns {Counts}
 */
export function readJunit(text) {
  const suite = /<testsuite\s[^>]*>/.exec(text)?.[0] ?? '';
  /** @param {string} name */
  const count = (name) => Number(new RegExp(`\\s${name}="(\\d+)"`).exec(suite)?.[1] ?? 0);
  const failed = count('failures') + count('errors');
  const skipped = count('skipped');
  return { passed: Math.max(0, count('tests') - failed - skipped), failed, skipped };
}

/**
 * What a suite counted, made honest by how it ended: one that ran no test, or failed without a failed test, has a failure.
 * @param {Suite} suite
 * @param {number} code its exit code
 * @returns {Counts & { why?: string }}
 */
export function outcome({ report, read }, code) {
  /** @type {Counts} */
  let counts = { passed: 0, failed: 0, skipped: 0 };
  let why = 'ran no test';
  try {
    if (existsSync(report)) counts = read(readFileSync(report, 'utf8'));
  } catch {
    why = 'wrote a report that does not read';
  }
  if (counts.failed > 0) return counts;
  if (counts.passed === 0) return { ...counts, failed: 1, why };
  return code === 0 ? counts : { ...counts, failed: 1, why: `ended with ${code} though no test failed` };
}

/**
 * What to look at in a suite's report; nothing where it has none, or none that reads.
 * @param {Suite} suite
 * @returns {Remarks}
 */
export function remarks({ report, remarks: read }) {
  try {
    return read?.(readFileSync(report, 'utf8')) ?? { red: [], shaky: [] };
  } catch {
    return { red: [], shaky: [] };
  }
}

/**
 * @param {readonly Counts[]} all
 * @returns {Counts}
 */
export function sum(all) {
  const total = { passed: 0, failed: 0, skipped: 0 };
  for (const { passed, failed, skipped } of all) {
    total.passed += passed;
    total.failed += failed;
    total.skipped += skipped;
  }
  return total;
}

/**
 * The closing line, which continuous integration reads.
 * @param {Counts} counts
 * @returns {string}
 */
export function closingLine({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}

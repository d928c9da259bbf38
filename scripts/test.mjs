/**
 * `npm test`: set-up, then every suite, each with its own output; ends with a table and the line `N passed, N failed`.
 * `npm test -- unit python` runs only those.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { root } from './lib/files.mjs';
import { run } from './lib/run.mjs';
import { fail, formatDuration, say, step, UserError } from './lib/say.mjs';
import { ensureSetUp } from './lib/set-up.mjs';
import { canBuildVersitygw, ensureVersitygw } from './lib/versitygw.mjs';
import { closingLine, outcome, remarks, RESULTS, suites, sum } from './lib/suites.mjs';

const S3_SUITES = ['conformance', 'e2e'];

/** @param {readonly string[]} names */
function choose(names) {
  const known = suites.map(({ name }) => name);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined)
    throw new UserError(`There is no suite ${JSON.stringify(unknown)}. The suites are ${known.join(', ')}.`);
  return names.length === 0 ? suites : suites.filter(({ name }) => names.includes(name));
}

/**
 * The S3 server, for the suites that use it. Where it cannot be had, their tests on S3 are skipped and say so; where it is required
 * (continuous integration sets ANNEAL_REQUIRE_S3), nothing runs without it.
 * @param {readonly import('./lib/suites.mjs').Suite[]} chosen
 */
async function prepareS3(chosen) {
  if (!chosen.some(({ name }) => S3_SUITES.includes(name))) return;
  const isRequired = process.env['ANNEAL_REQUIRE_S3'] !== undefined;
  try {
    if (isRequired || canBuildVersitygw()) await step('S3 server', ensureVersitygw);
  } catch (error) {
    if (isRequired || !(error instanceof UserError)) throw error;
    say(`  The tests on S3 are skipped. ${error.message}`);
  }
}

/** @param {import('./lib/suites.mjs').Suite} suite */
async function runSuite(suite) {
  say(`\n━━ ${suite.name}`);
  const startMs = performance.now();
  rmSync(suite.report, { force: true }); // counts of an earlier run are not ours
  const [program = '', ...args] = suite.command;
  const { code, stderr, timedOut } = await run(program, args, {
    cwd: suite.cwd ?? root,
    timeoutMs: suite.timeoutMs,
    live: true,
  });
  if (code === 127) say(stderr);
  const result = outcome(suite, code);
  const why = timedOut ? `was ended after ${formatDuration(suite.timeoutMs)}` : result.why;
  return {
    name: suite.name,
    durationMs: performance.now() - startMs,
    ...result,
    failed: timedOut ? Math.max(1, result.failed) : result.failed,
    why,
  };
}

/**
 * The end of a long log is what is read of it: the names of the tests to look at stand there, and not only where they failed.
 * @param {string} title
 * @param {readonly string[]} lines
 */
function list(title, lines) {
  if (lines.length === 0) return;
  say(`\n${title}:`);
  for (const line of lines) say(`  ${line}`);
}

/** @param {Awaited<ReturnType<typeof runSuite>>} result */
function row({ name, passed, failed, skipped, durationMs, why }) {
  const numbers = [passed, failed, skipped].map((count) => String(count).padStart(8)).join('');
  return `  ${name.padEnd(12)}${numbers}  ${formatDuration(durationMs).padStart(12)}${why ? `  ${why}` : ''}`;
}

try {
  const chosen = choose(process.argv.slice(2));
  await ensureSetUp();
  await prepareS3(chosen);
  mkdirSync(RESULTS, { recursive: true });
  const results = [];
  for (const suite of chosen) results.push(await runSuite(suite));
  say(
    `\n  ${'suite'.padEnd(12)}${['passed', 'failed', 'skipped'].map((title) => title.padStart(8)).join('')}  ${'time'.padStart(12)}`,
  );
  for (const result of results) say(row(result));
  const toLookAt = chosen.map(remarks);
  list(
    'Passed only on the second try',
    toLookAt.flatMap(({ shaky }) => shaky),
  );
  list(
    'Failed',
    toLookAt.flatMap(({ red }) => red),
  );
  const total = sum(results);
  say(`\n${closingLine(total)}`);
  process.exitCode = total.failed > 0 ? 1 : 0;
} catch (error) {
  fail(error);
}

/**
 * `npm run show:survives [-- --only "TEXT|TEXT"]`: plays the kill table and prints a line for each row as it ends. These are the rows
 * and the assertions of `npm test`, which plays some of them; `--only` plays those whose names hold one of the texts.
 */
import { parseArgs } from 'node:util';
import { fail, formatDuration, say } from './lib/say.mjs';
import { ensureSetUp } from './lib/set-up.mjs';

const FILE = 'test/e2e/recovery.test.ts';

/** @typedef {import('../test/support/survives/play.js').Survived & { readonly isEqual: boolean }} Survived */

/**
 * @param {string} sign
 * @param {readonly string[]} cells
 */
function line(sign, cells) {
  const widths = [48, 15, 7, 5, 9, 6, 9];
  say(`${sign.padEnd(7)}${cells.map((cell, index) => cell.padEnd((widths[index] ?? 0) + 1)).join('')}`.trimEnd());
}

/** @param {Survived | undefined} survived */
function cellsOf(survived) {
  if (survived === undefined) return [];
  const { recovery, generations, lost, nextSeconds, isEqual, trainersAtOnce, tries } = survived;
  return [
    recovery,
    generations.length === 0 ? '-' : generations.join(' > '),
    String(lost),
    nextSeconds === undefined ? '-' : `${nextSeconds.toFixed(1)} s`,
    isEqual ? 'equal' : 'OTHER',
    generations.length === 0 ? '-' : `${String(trainersAtOnce)} at once`,
    ...(tries === 1 ? [] : [`(caught in run ${String(tries)})`]),
  ];
}

let played = 0;
let survivedRows = 0;

/** @type {import('vitest/node').Reporter} */
const reporter = {
  onTestCaseResult(test) {
    const { state, errors } = test.result();
    played += 1;
    if (state === 'passed') survivedRows += 1;
    const { survived } = /** @type {{ survived?: Survived }} */ (test.meta());
    line(state === 'passed' ? 'ok' : 'FAILED', [test.name, ...cellsOf(survived)]);
    for (const { message } of errors ?? []) say(`       ${message.replaceAll('\n', '\n       ')}`);
  },
  onTestRunEnd(_, unhandled) {
    for (const { message } of unhandled) say(message);
  },
  onTestModuleEnd(module) {
    for (const { message } of module.errors()) say(message);
  },
};

try {
  const { values } = parseArgs({ options: { only: { type: 'string' } } });
  await ensureSetUp();
  process.env['ANNEAL_SURVIVES'] = values.only ?? 'all';
  const { startVitest } = await import('vitest/node');
  const startMs = performance.now();
  line('', ['killed @ moment', 'recovery', 'gen.', 'lost', 'next', 'digest', 'trainers']);
  const vitest = await startVitest('test', [FILE], { project: ['e2e'], watch: false, reporters: [reporter] });
  await vitest.close();
  say(`\n${survivedRows} of ${played} rows survived, in ${formatDuration(performance.now() - startMs)}.`);
  process.exit(played > 0 && survivedRows === played ? 0 : 1);
} catch (error) {
  fail(error);
}

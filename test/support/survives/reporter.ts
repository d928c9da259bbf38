/** Prints the kill table while it is played: a line for each row as it ends, then how many survived. */
import type { Reporter, TestCase, TestModule } from 'vitest/node';
import { formatDuration, say } from '../../../scripts/lib/say.mjs';
import type { Survived } from './play.js';

/** Of the columns: who is killed and when, how it recovered, generations, iterations lost, seconds to the next one, digest. */
const WIDTHS = [50, 16, 7, 6, 9, 8];

// eslint-disable-next-line no-restricted-syntax -- vitest takes a reporter from the default export
export default class TableReporter implements Reporter {
  readonly #startMs = performance.now();
  #played = 0;
  #survived = 0;

  onTestRunStart(): void {
    line('', ['killed @ moment', 'recovery', 'gen.', 'lost', 'next', 'digest', 'trainers']);
  }

  onTestCaseResult(row: TestCase): void {
    const { state, errors = [] } = row.result();
    this.#played += 1;
    if (state === 'passed') this.#survived += 1;
    line(state === 'passed' ? 'ok' : 'FAILED', [row.name, ...cellsOf(row.meta().survived)]);
    for (const { message, diff } of errors) say((diff ?? message).replaceAll(/^/gm, '       '));
  }

  onTestModuleEnd(module: TestModule): void {
    for (const { message } of module.errors()) say(message);
  }

  onTestRunEnd(_: readonly TestModule[], unhandled: readonly { readonly message: string }[]): void {
    for (const { message } of unhandled) say(message);
    const took = formatDuration(performance.now() - this.#startMs);
    say(`\n${String(this.#survived)} of ${String(this.#played)} rows survived, in ${took}.`);
  }
}

function cellsOf(survived: (Survived & { readonly isEqual: boolean }) | undefined): readonly string[] {
  if (survived === undefined) return [];
  const { recovery, generations, lost, nextSeconds, isEqual, trainersAtOnce, tries } = survived;
  return [
    recovery,
    generations.length === 0 ? '-' : generations.join(' > '),
    String(lost),
    nextSeconds === undefined ? '-' : `${nextSeconds.toFixed(1)} s`,
    isEqual ? 'equal' : 'OTHER',
    generations.length === 0 ? '-' : `${String(trainersAtOnce)} at once`,
    ...(tries === 1 ? [] : [` (caught in run ${String(tries)})`]),
  ];
}

function line(sign: string, cells: readonly string[]): void {
  say(`${sign.padEnd(7)}${cells.map((cell, index) => cell.padEnd(WIDTHS[index] ?? 0)).join('')}`.trimEnd());
}

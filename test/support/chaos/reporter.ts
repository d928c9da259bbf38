/** Prints a line for each round as it ends, then how often each fault struck and each recovery was seen. `ANNEAL_CHAOS_JSON`: as JSON. */
import type { UserConsoleLog } from 'vitest';
import type { Reporter, TestCase, TestModule } from 'vitest/node';
import { formatDuration, say } from '../../../scripts/lib/say.mjs';
import type { Round } from './round.js';

const isJson = process.env['ANNEAL_CHAOS_JSON'] !== undefined;

// eslint-disable-next-line no-restricted-syntax -- vitest takes a reporter from the default export
export default class ChaosReporter implements Reporter {
  readonly #startMs = performance.now();
  readonly #rounds: Round[] = [];
  #survived = 0;

  onTestCaseResult(test: TestCase): void {
    const { state, errors = [] } = test.result();
    // What comes after a round that failed is not played.
    if (state !== 'passed' && state !== 'failed') return;
    const { round } = test.meta();
    if (round !== undefined) this.#rounds.push(round);
    if (state === 'passed') this.#survived += 1;
    const problems = errors.map(({ message }) => message);
    if (isJson) say(JSON.stringify({ state, name: test.name, problems, ...round }));
    else say(round === undefined ? `${state}  ${test.name}` : lineOf(round));
    if (state === 'passed' || isJson) return;
    for (const sentence of round?.problems ?? problems) say(`        ${sentence}`);
    say(`        Replay: npm run chaos -- --seed ${/\d+/.exec(test.name)?.[0] ?? ''} --rounds 1`);
  }

  /** What is skipped and why, and where a failed round has left its folder. */
  onUserConsoleLog({ content }: UserConsoleLog): void {
    process.stderr.write(content);
  }

  onTestModuleEnd(module: TestModule): void {
    for (const { message } of module.errors()) say(message);
  }

  onTestRunEnd(_: readonly TestModule[], unhandled: readonly { readonly message: string }[]): void {
    for (const { message } of unhandled) say(message);
    const faults = count(
      this.#rounds.flatMap((round) => round.faults.map(({ fault, missed }) => kindOf(fault, missed))),
    );
    const recoveries = count(this.#rounds.flatMap((round) => recoveriesOf(round)));
    const rounds = this.#rounds.length;
    if (isJson) {
      say(JSON.stringify({ rounds, survived: this.#survived, faults, recoveries }));
      return;
    }
    for (const [title, counts] of Object.entries({ faults, recoveries })) {
      say(`\n${title}:`);
      for (const [name, times] of Object.entries(counts)) say(`  ${String(times).padStart(5)}  ${name}`);
    }
    say(
      `\n${String(this.#survived)} of ${String(rounds)} rounds survived, in ${formatDuration(performance.now() - this.#startMs)}.`,
    );
  }
}

function lineOf(round: Round): string {
  const { seed, hosts, faults, generations, iterationsLost, seconds, problems } = round;
  const struck = faults.map(
    ({ fault, at, missed }) => `${fault} @ ${at}${missed === undefined ? '' : ` (missed: ${missed})`}`,
  );
  return [
    `${problems.length === 0 ? 'ok    ' : 'FAILED'}  seed ${String(seed)}  ${String(hosts)} hosts  ${struck.join(' + ')}`,
    `-> ${Object.entries(count(recoveriesOf(round)))
      .map(([name, times]) => `${name}${times === 1 ? '' : ` x${String(times)}`}`)
      .join(', ')}`,
    `${String(generations)} generations, ${String(iterationsLost)} iterations lost, ${seconds.toFixed(1)} s`,
  ].join('  ');
}

const recoveriesOf = ({ recoveries }: Round): readonly string[] =>
  recoveries.length === 0 ? ['unnoticed'] : recoveries;

const kindOf = (fault: string, missed: string | undefined): string =>
  `${fault.replace(/ \d+ s$/, '')}${missed === undefined ? '' : ` (missed: ${missed})`}`;

/** The most frequent first. */
function count(names: readonly string[]): Readonly<Record<string, number>> {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return Object.fromEntries([...counts].sort(([a, m], [b, n]) => n - m || a.localeCompare(b)));
}

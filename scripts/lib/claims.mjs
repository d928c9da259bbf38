/** Claims of a demonstration: each by a command and what it printed, and at the end how many held. */
import { root } from './files.mjs';
import { run } from './run.mjs';
import { formatDuration, say } from './say.mjs';

const LIMIT_MS = 15 * 60_000;

/**
 * @typedef {object} Shown
 * @property {string} [cwd]
 * @property {Record<string, string>} [env]
 * @property {RegExp} [lines] of what it printed, those that are worth showing
 * @property {(result: { code: number, out: string }) => boolean} [holds] by default exit code 0
 */

export class Claims {
  /** @type {string[]} */
  #failed = [];
  #shown = 0;

  /** @param {string} title */
  heading(title) {
    say(`\n━━ ${title}`);
  }

  /**
   * Runs a command and prints it with what it printed; of one that does not hold, all of it.
   * @param {string} claim
   * @param {readonly string[]} command
   * @param {Shown} [options]
   */
  async show(claim, command, { cwd = root, env = {}, lines = /./, holds = ({ code }) => code === 0 } = {}) {
    const [program = '', ...args] = command;
    const startMs = performance.now();
    const { code, stdout, stderr, timedOut } = await run(program, args, { cwd, env, timeoutMs: LIMIT_MS });
    const out = `${stdout}${stderr}`;
    const isTrue = !timedOut && holds({ code, out });
    this.tell(claim, isTrue);
    say(`  $ ${command.map(readable).join(' ')}   (${formatDuration(performance.now() - startMs)})`);
    // eslint-disable-next-line no-control-regex -- colours of the test runner
    const plain = out.replaceAll(/\u001b\[[0-9;]*m/g, '').split('\n');
    for (const line of isTrue ? plain.filter((text) => text.trim() !== '' && lines.test(text)) : plain)
      say(`  ${line}`);
    return out;
  }

  /**
   * @param {string} claim
   * @param {boolean} isTrue
   */
  tell(claim, isTrue) {
    this.#shown += 1;
    if (!isTrue) this.#failed.push(claim);
    say(`\n${isTrue ? 'ok    ' : 'FAILED'} ${claim}`);
  }

  /** Says how many held, and sets the exit code. */
  end() {
    const failed = this.#failed;
    say(
      `\n${this.#shown - failed.length} shown, ${failed.length} failed${failed.length > 0 ? `: ${failed.join('; ')}` : ''}`,
    );
    process.exitCode = failed.length > 0 ? 1 : 0;
  }
}

/** @param {string} word */
function readable(word) {
  const short = word.replace(process.execPath, 'node').replace(`${root}/`, '');
  return /[\s'"]/.test(short) ? JSON.stringify(short) : short;
}

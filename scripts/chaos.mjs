/**
 * `npm run chaos -- --seed N --rounds M`: plays the schedules of M seeds from N on, each on a run of its own, and prints a line for each as it
 * ends. The first that fails ends it, names the seed with which it can be played again, and leaves its folder.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from './lib/files.mjs';
import { findAllOnPath, run } from './lib/run.mjs';
import { fail, say, UserError } from './lib/say.mjs';
import { ensureSetUp } from './lib/set-up.mjs';
import { canBuildVersitygw, ensureVersitygw } from './lib/versitygw.mjs';

const HELP = `Usage: npm run chaos -- [--seed N] [--rounds M] [--json]

Trains on four hosts behind lines of their own, strikes at moments of the training, and looks whether each run completes by itself with the weights
of an undisturbed one and leaves nothing behind.

  --seed N     the first seed; each round plays the next one. Left out, one of the clock's.
  --rounds M   how many rounds. Left out, 10.
  --json       a line of JSON for each round, and one at the end.

Ends with 1 at the first round that fails, names its seed, and leaves its folder. A disk is filled only where this may mount a file system in a
namespace of its own; elsewhere that fault is skipped and named as missed.`;

const ROUND_LIMIT_MS = 10 * 60_000;
const UNSHARE = ['unshare', '--mount', '--propagation', 'private'];

/** @param {string | undefined} text @param {string} name @param {number} otherwise */
function wholeNumber(text, name, otherwise) {
  const number = text === undefined ? otherwise : Number(text);
  if (Number.isSafeInteger(number) && number >= 0) return number;
  throw new UserError(`--${name} is ${JSON.stringify(text)}, and must be a whole number from 0 on.`);
}

/** Whether a process of ours may mount in a namespace of its own. */
async function canMount() {
  if (findAllOnPath('unshare').length === 0) return false;
  const [program = '', ...args] = UNSHARE;
  return (await run(program, [...args, 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt'])).code === 0;
}

/** So that nothing but JSON is printed. */
async function setUpSilently() {
  const { code, stderr } = await run(process.execPath, [join(root, 'scripts/setup.mjs')]);
  if (code !== 0) throw new UserError(stderr.trim());
}

try {
  const { values } = parseArgs({
    options: {
      ...{ seed: { type: 'string' }, rounds: { type: 'string' } },
      ...{ json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
    },
  });
  if (values.help) say(HELP);
  else {
    const seed = wholeNumber(values.seed, 'seed', Math.floor(Date.now() / 1000));
    const rounds = wholeNumber(values.rounds, 'rounds', 10);
    await (values.json ? setUpSilently() : ensureSetUp());
    if (canBuildVersitygw()) await ensureVersitygw();
    const hasDisks = await canMount();
    if (!values.json)
      say(`seeds ${seed} to ${seed + rounds - 1}${hasDisks ? '' : '; no disk is filled: nothing may be mounted here'}`);
    const reporter = join(root, 'test/support/chaos/reporter.ts');
    // No second try, and no round after one that failed.
    const args = [
      'run',
      '--project',
      'e2e',
      '--retry=0',
      '--bail=1',
      'test/e2e/chaos.test.ts',
      `--reporter=${reporter}`,
    ];
    const [program = '', ...before] = hasDisks ? [...UNSHARE, process.execPath] : [process.execPath];
    const { code } = await run(program, [...before, join(root, 'node_modules/vitest/vitest.mjs'), ...args], {
      cwd: root,
      env: {
        ANNEAL_CHAOS: `${seed}:${rounds}`,
        ANNEAL_CHAOS_DISKS: hasDisks ? 'yes' : undefined,
        ANNEAL_CHAOS_JSON: values.json ? 'yes' : undefined,
      },
      timeoutMs: (rounds + 1) * ROUND_LIMIT_MS,
      live: true,
    });
    process.exitCode = code === 0 ? 0 : 1;
  }
} catch (error) {
  fail(error);
}

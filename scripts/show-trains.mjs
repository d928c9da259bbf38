/**
 * `npm run show:trains`: what "it trains for real" claims, each claim by a command and what it printed. About ten minutes on
 * two cores. Its state lies in a folder of its own, so a demo or a test may run beside it.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { Claims } from './lib/claims.mjs';
import { root } from './lib/files.mjs';
import { run } from './lib/run.mjs';
import { fail } from './lib/say.mjs';
import { ensureSetUp } from './lib/set-up.mjs';

const python = join(root, '.venv/bin/python');
const vitest = join(root, 'node_modules/vitest/vitest.mjs');
const anneal = join(root, 'bin/anneal.mjs');

const claims = new Claims();
const heading = claims.heading.bind(claims);
const show = claims.show.bind(claims);

/** @param {string} folder processes that name it are ours */
function processesOf(folder) {
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return false;
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(folder);
    } catch {
      return false;
    }
  });
}

/** @param {string} state */
async function startDev(state) {
  const dev = spawn(process.execPath, [anneal, 'dev', '--state-dir', state], { cwd: root, stdio: 'ignore' });
  const ended = new Promise((resolve) => dev.once('exit', resolve));
  const deadline = performance.now() + 60_000;
  for (;;) {
    const { code, stdout } = await run(process.execPath, [anneal, 'hosts', '--json', '--state-dir', state]);
    /** @type {{ live: boolean }[]} */
    const hosts = code === 0 ? JSON.parse(stdout) : [];
    if (hosts.filter(({ live }) => live).length === 2) break;
    if (performance.now() > deadline) throw new Error('anneal dev has no two live hosts after a minute.');
    await wait(500);
  }
  return async () => {
    dev.kill('SIGINT');
    await ended;
  };
}

/**
 * The demo's spec over other data, without a gate.
 * @param {string} scratch
 * @param {string} permuted
 */
async function control(scratch, permuted) {
  const data = join(scratch, `data-${permuted}`);
  const args = ['-m', 'anneal_trainer.digits', '--out', data, '--permute', permuted];
  await run(python, args, { cwd: join(root, 'trainer') });
  const spec = readFileSync(join(root, 'examples/laptop.yaml'), 'utf8')
    .replace('name: digits-on-a-laptop', `name: ${permuted}-permuted`)
    .replace('file://../trainer/base/internvl3-tiny', `file://${root}/trainer/base/internvl3-tiny`)
    .replace('file://../.anneal/data/digits', `file://${data}`)
    .replace('minimumAccuracy: 0.9', 'minimumAccuracy: 0')
    .replace('model: digits', `model: control-${permuted}`);
  const file = join(scratch, `${permuted}.yaml`);
  writeFileSync(file, spec);
  return file;
}

/** @param {string} out */
const accuracyAfter = (out) => Number(/([\d.]+) % after/.exec(out)?.[1] ?? Number.NaN);

await ensureSetUp();
const scratch = mkdtempSync(join(tmpdir(), 'anneal-show-'));
const state = join(scratch, 'state');
/** @type {(() => Promise<void>) | undefined} */
let stopDev;
try {
  heading('1 Foundation');
  await show('types, lint, format, arrows and unused exports', [process.execPath, 'scripts/check.mjs']);

  heading('2 Set-up');
  await show('a second start takes no time', [process.execPath, 'scripts/setup.mjs']);
  await show('and needs no network', ['unshare', '-rn', process.execPath, 'scripts/setup.mjs']);
  await show('on this Python, torch and Temporal', [
    ...[
      'sh',
      '-c',
      `${python} -c "import sys, torch; print(sys.version.split()[0], torch.__version__)"; .venv/bin/temporal --version`,
    ],
  ]);

  heading('3 The demo: dev, submit, watch, summary');
  const demo = [process.execPath, anneal, 'demo', '--state-dir', state];
  const first = await show('all six stages, more than 90 % on held-out images', demo, {
    lines: /\*|promoted|accuracy|time |weights|model|logs|Stage|^(fetch|convert|prepare|train|publish|evaluate) /,
    holds: ({ code, out }) => code === 0 && accuracyAfter(out) > 90,
  });
  await show('a second time everything is reused', demo, {
    lines: /\*|=|reused|accuracy|time /,
    holds: ({ code, out }) => code === 0 && (out.match(/reused/g) ?? []).length >= 6,
  });
  await show(
    'and nothing is left running',
    ['sh', '-c', `echo "processes that name ${state}: ${processesOf(state).length}"`],
    {
      holds: ({ out }) => out.trim().endsWith(': 0'),
    },
  );

  heading('4 Spec and plan');
  await show('the plan, with the exact commands', [
    process.execPath,
    anneal,
    'plan',
    'examples/laptop.yaml',
    '--state-dir',
    state,
  ]);
  for (const name of readdirSync(join(root, 'examples/refused')).filter((file) => file.endsWith('.yaml')))
    await show(`${name} is refused`, [process.execPath, anneal, 'plan', `examples/refused/${name}`], {
      holds: ({ code }) => code === 2,
    });

  heading('5, 6, 7, 9 The chain, hosts, agents and the SDK, on real processes');
  // Recovery, S3 and schedules have demonstrations and suites of their own.
  const files = ['test/e2e/chain.test.ts', 'test/e2e/stages.test.ts'];
  await show('e2e', [process.execPath, vitest, 'run', '--project', 'e2e', '--reporter=verbose', ...files], {
    lines: /✓|×|Tests|Duration/,
  });

  heading('8 The CPU runtime');
  stopDev = await startDev(state);
  for (const permuted of ['images', 'questions']) {
    const file = await control(scratch, permuted);
    await show(
      `with ${permuted} permuted, accuracy falls to chance`,
      [...[process.execPath, anneal, 'submit', file, '--watch', '--state-dir', state]],
      { lines: /accuracy/, holds: ({ code, out }) => code === 0 && accuracyAfter(out) < 45 },
    );
  }
  await stopDev();
  stopDev = undefined;
  const model = /^model\s+(\S+)/m.exec(first)?.[1] ?? '';
  await show(
    "the published model's digest, from its tensors",
    [python, '-m', 'anneal_trainer.tensors', 'digest', model],
    {
      cwd: join(root, 'trainer'),
      holds: ({ code, out }) => code === 0 && first.includes(JSON.parse(out).digest),
    },
  );
  await show(
    "transformers' own InternVL gives its logits",
    [python, '-m', 'pytest', '-q', 'tests/test_transformers.py'],
    {
      cwd: join(root, 'trainer'),
      env: { ANNEAL_COMPARE_MODEL: model },
    },
  );
  await show(
    'layouts agree, resume ends in the same bits, converter and base are exact',
    [
      ...[
        python,
        '-m',
        'pytest',
        '-v',
        'tests/test_train_layouts.py',
        'tests/test_resume.py',
        'tests/test_convert_roundtrip.py',
        'tests/test_convert_dist_train.py',
        'tests/test_data_base.py',
      ],
    ],
    { cwd: join(root, 'trainer'), lines: /PASSED|passed/ },
  );

  heading('9 First output of every command');
  for (const command of [
    'dev',
    'worker',
    'agent',
    'demo',
    'plan',
    'submit',
    'runs',
    'watch',
    'logs',
    'hosts',
    'report',
  ])
    await show(`anneal ${command} --help`, [process.execPath, anneal, command, '--help'], { lines: /^Usage/ });

  heading('10 Histories');
  await show(
    'golden histories replay',
    [process.execPath, vitest, 'run', '--project', 'histories', '--reporter=verbose'],
    { lines: /✓|×|Tests/ },
  );

  claims.end();
} catch (error) {
  fail(error);
} finally {
  await stopDev?.();
  rmSync(scratch, { recursive: true, force: true });
}

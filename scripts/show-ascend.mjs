/**
 * `npm run show:ascend`: what "MindSpeed MM on Ascend, to the letter" claims, as far as a machine without an NPU can show it: files and rules
 * by tests, each trap of a host with the verdict of the engine, and the import of a published script. Some minutes on two cores.
 * Nothing of it has run on an NPU.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Claims } from './lib/claims.mjs';
import { root } from './lib/files.mjs';
import { run } from './lib/run.mjs';
import { fail, formatDuration, say } from './lib/say.mjs';
import { ensureSetUp } from './lib/set-up.mjs';

const LIMIT_MS = 20 * 60_000;
const vitest = join(root, 'node_modules/vitest/vitest.mjs');
const anneal = join(root, 'bin/anneal.mjs');
const script = ['examples/internvl3/finetune_internvl3_8B.sh', '--hostfile', 'examples/internvl3/hostfile.txt'];

const claims = new Claims();
const scratch = mkdtempSync(join(tmpdir(), 'anneal-show-'));

/** @param {readonly string[]} files */
const units = (...files) => [
  ...[process.execPath, vitest, 'run', '--project', 'unit', '--reporter=verbose'],
  ...files.map((file) => `test/unit/${file}`),
];

/**
 * Plays the traps of a test file; each test is named "trap: verdict".
 * @param {string} project
 * @param {string} file
 */
async function verdicts(project, file) {
  const report = join(scratch, `${project}.json`);
  const args = ['run', '--project', project, '--retry=0', file, '--reporter=json', `--outputFile.json=${report}`];
  const { code } = await run(process.execPath, [vitest, ...args], { cwd: root, timeoutMs: LIMIT_MS });
  /** @type {{ testResults: { assertionResults: { title: string, status: string, duration?: number, failureMessages: string[] }[] }[] }} */
  const { testResults } = JSON.parse(readFileSync(report, 'utf8'));
  const rows = testResults.flatMap(({ assertionResults }) => assertionResults);
  claims.tell(`${file}: ${String(rows.length)} traps and their verdicts`, code === 0 && rows.length > 0);
  const [traps, ends] = [
    rows.map(({ title }) => title.split(': ')[0] ?? ''),
    rows.map(({ title }) => verdictOf(title)),
  ];
  const width = Math.max(...traps.map((trap) => trap.length));
  rows.forEach(({ status, duration = 0, failureMessages }, index) => {
    const mark = status === 'passed' ? 'ok    ' : 'FAILED';
    say(`  ${mark}  ${(traps[index] ?? '').padEnd(width)}  →  ${ends[index] ?? ''}  (${formatDuration(duration)})`);
    for (const message of failureMessages) say(`          ${message.split('\n', 1)[0] ?? ''}`);
  });
}

/** @param {string} title */
const verdictOf = (title) => title.split(': ').slice(1).join(': ');

try {
  await ensureSetUp();
  say(
    'Nothing here has run on an NPU: the fixtures behave as the facts about MindSpeed MM 2.2.0 and Ascend hosts say.',
  );

  claims.heading('1 Files of presets and layouts, held against the published ones');
  await claims.show(
    'model.json, data.json, arguments and environment',
    units(
      'backends/presets.test.ts',
      'backends/golden-plans.test.ts',
      'backends/mindspeed-rules.test.ts',
      'backends/mindspeed-arguments.test.ts',
      'backends/compose-plan.test.ts',
      'backends/tensor-names.test.ts',
    ),
    { lines: /✓|×|Tests/ },
  );

  claims.heading('2 Every plan that passes keeps every rule, said once more');
  await claims.show('the property test', units('backends/plan-properties.test.ts', 'backends/refusals.test.ts'), {
    lines: /✓|×|Tests/,
  });

  claims.heading('3 The plan for a person: what it will need, which layouts, the scripts that run it by hand');
  await claims.show(
    'forecast, suggestions, scripts of --write',
    units(
      'backends/forecast.test.ts',
      'backends/memory.test.ts',
      'backends/suggest.test.ts',
      'backends/by-hand.test.ts',
      'cli/plan.test.ts',
    ),
    { lines: /✓|×|Tests/ },
  );

  claims.heading('4 Doctor: every published sample, one planted fault for each check; infra/ascend by its own tools');
  await claims.show(
    'parsers, checks, gangs of unequal hosts, installation',
    units('preflight', 'activities/host-doctor.test.ts', 'plan/preflight.test.ts', 'cli/doctor.test.ts', 'infra'),
    { lines: /✓|×|Tests/ },
  );

  claims.heading('5 Launch: the environment of CANN, ports, evidence');
  await claims.show(
    'captured once, joined, given by name; what is kept of a broken generation',
    units(
      'process/capture-environment.test.ts',
      'workers/host-environment.test.ts',
      'process/free-port.test.ts',
      'activities/measured-lines.test.ts',
      'activities/incident-bundle.test.ts',
    ),
    { lines: /✓|×|Tests/ },
  );

  claims.heading('6 Traps of an Ascend host, and the verdicts');
  await verdicts('conformance', 'test/conformance/ascend-traps.test.ts');
  await verdicts('e2e', 'test/e2e/ascend.test.ts');

  claims.heading('7 A script written to the description of the published one');
  await claims.show(
    'anneal import: a spec, and what it could not carry',
    [process.execPath, anneal, 'import', ...script],
    {
      cwd: join(root, 'test/fixtures/import'),
      holds: ({ code, out }) => code === 0 && out.includes('family: internvl3'),
    },
  );

  claims.end();
} catch (error) {
  fail(error);
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

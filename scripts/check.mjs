/** `npm run check`: types, lint, format, arrows, unused exports and the trainer's lint, side by side; each one is one check. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './lib/files.mjs';
import { run } from './lib/run.mjs';
import { formatDuration, say } from './lib/say.mjs';

const node = process.execPath;
/** @param {string} path */
const tool = (path) => join(root, 'node_modules', path);

/** @type {readonly { name: string, command: readonly string[] }[]} */
const checks = [
  { name: 'types', command: [node, tool('typescript/bin/tsc'), '-p', 'tsconfig.json'] },
  { name: 'script types', command: [node, tool('typescript/bin/tsc'), '-p', 'scripts/tsconfig.json'] },
  { name: 'lint', command: [node, tool('eslint/bin/eslint.js'), '.', '--max-warnings', '0'] },
  { name: 'format', command: [node, tool('prettier/bin/prettier.cjs'), '--check', '--log-level', 'warn', '.'] },
  { name: 'arrows', command: [node, tool('dependency-cruiser/bin/dependency-cruise.mjs'), 'src', 'scripts', 'bin'] },
  { name: 'unused', command: [node, tool('knip/bin/knip.js'), '--no-config-hints'] },
  {
    name: 'trainer lint',
    command: [join(root, '.venv/bin/ruff'), 'check', '--no-cache', '--line-length', '120', 'trainer'],
  },
];

/** The laptop of the promise has two cores; more at once would only take longer each. */
const AT_ONCE = 2;
/** Lint takes half a minute alone, and nine times that beside a training on the same cores. */
const TIMEOUT_MS = 15 * 60_000;

/** @param {typeof checks[number]} check */
async function runCheck({ name, command: [program = '', ...args] }) {
  const startMs = performance.now();
  const { code, stdout, stderr, timedOut } = await run(program, args, { cwd: root, timeoutMs: TIMEOUT_MS });
  const time = formatDuration(performance.now() - startMs);
  say(
    `  ${code === 0 ? 'ok    ' : 'FAILED'} ${name.padEnd(13)} (${time})${timedOut ? ' was ended: it took too long' : ''}`,
  );
  if (code !== 0) say(`${stdout}${stderr}`.trimEnd());
  return code === 0;
}

const waiting = [...checks];
/** @type {boolean[]} */
const results = [];
await Promise.all(
  Array.from({ length: AT_ONCE }, async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) results.push(await runCheck(next));
  }),
);
const passed = results.filter(Boolean).length;
const report = process.argv[2];
if (report) writeFileSync(report, JSON.stringify({ passed, failed: results.length - passed, skipped: 0 }));
process.exitCode = passed === results.length ? 0 : 1;

/** Compiles trainer/requirements/requirements.in into one lock per Python. For maintainers: needs uv and the network. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from './lib/files.mjs';
import { PYTHON_MINORS } from './lib/pins.mjs';
import { lockPath } from './lib/python-lock.mjs';
import { lastLines, run } from './lib/run.mjs';
import { fail, say, UserError } from './lib/say.mjs';

const PLATFORMS = [
  "sys_platform == 'linux' and platform_machine == 'x86_64'",
  "sys_platform == 'linux' and platform_machine == 'aarch64'",
  "sys_platform == 'darwin' and platform_machine == 'arm64'",
];

/**
 * @param {number} minor of Python 3
 * @param {string} scratch
 */
async function lock(minor, scratch) {
  // One Python and three platforms: without the bounds a lock would carry a version for every later Python too.
  const bounds = `python_full_version >= '3.${minor}' and python_full_version < '3.${minor + 1}'`;
  const environments = JSON.stringify(PLATFORMS.map((platform) => `${bounds} and ${platform}`));
  writeFileSync(join(scratch, 'pyproject.toml'), `[tool.uv]\nenvironments = ${environments}\n`);
  const out = join(scratch, 'lock.txt');
  const args = [
    ...['pip', 'compile', '--quiet', '--universal', '--python-version', `3.${minor}`, '--only-binary', ':all:'],
    // No header, no index: a lock names what to install and its digests, never where it was found.
    ...[
      '--generate-hashes',
      '--no-header',
      '--no-annotate',
      '--no-emit-index-url',
      '--no-emit-find-links',
      '--output-file',
      out,
    ],
    join(root, 'trainer/requirements/requirements.in'),
  ];
  const result = await run('uv', args, { cwd: scratch });
  if (result.code !== 0) throw new UserError(`No lock for Python 3.${minor}.\n${lastLines(result)}`);
  const header = `# Made by \`node scripts/lock.mjs\` from requirements.in, for Python 3.${minor}.\n`;
  writeFileSync(lockPath(minor), header + shortMarkers(readFileSync(out, 'utf8'), minor));
  say(`Python 3.${minor} locked`);
  rmSync(out);
}

/**
 * Leaves out of the markers what a lock for one Python and these platforms says of itself.
 * @param {string} text
 * @param {number} minor
 */
function shortMarkers(text, minor) {
  return text
    .replaceAll(`python_full_version < '3.${minor + 1}' and `, '')
    .replaceAll(/ ; \(\(.*'darwin'\) or \(.*'aarch64'.*\) or \(.*'x86_64'.*\)\)(?= \\$)/gm, '')
    .replaceAll(
      / ; \(\(.*'aarch64' and .*\) or \(.*'x86_64' and sys_platform == 'linux'\)\)(?= \\$)/gm,
      " ; sys_platform == 'linux'",
    );
}

const scratch = mkdtempSync(join(tmpdir(), 'anneal-lock-'));
try {
  for (const minor of PYTHON_MINORS) await lock(minor, scratch);
} catch (error) {
  fail(error);
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

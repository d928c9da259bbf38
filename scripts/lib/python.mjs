/** Finds a Python that the locks know, or checks the one that TRAINER_PYTHON names. */
import { existsSync } from 'node:fs';
import { LEAST_TORCH, PYTHON_MINORS } from './pins.mjs';
import { findAllOnPath, lastLines, run } from './run.mjs';
import { UserError } from './say.mjs';
import { isAtLeast, parseVersion } from './versions.mjs';

/**
 * @typedef {object} Python
 * @property {string} executable the real one, behind any shim
 * @property {readonly [number, number, number]} version
 * @property {boolean} freeThreaded a build without the GIL, for which no wheel of the locks exists
 * @property {readonly string[]} sitePackages
 */
/** @typedef {Python & { torch: string }} PythonWithTorch */

const LOOK = `
import json, site, sys, sysconfig
print(json.dumps({
    "executable": sys.executable,
    "version": list(sys.version_info[:3]),
    "freeThreaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "sitePackages": sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}),
}))`;

/** A shim of a version manager that has no such version answers in a moment, a cold disk in seconds. */
const LOOK_TIMEOUT_MS = 20_000;
/** A first import of torch reads 1 GB from disk. */
const IMPORT_TIMEOUT_MS = 180_000;

/**
 * @param {string} program
 * @returns {Promise<Python | undefined>} undefined when it is no Python 3 that runs
 */
export async function lookAt(program) {
  const { code, stdout } = await run(program, ['-I', '-c', LOOK], { timeoutMs: LOOK_TIMEOUT_MS });
  if (code !== 0) return undefined;
  try {
    return JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
  } catch {
    return undefined;
  }
}

/**
 * All Pythons on PATH that run: the user's `python3` first, then by version.
 * @returns {Promise<Python[]>}
 */
export async function findPythons() {
  const names = ['python3', ...PYTHON_MINORS.map((minor) => `python3.${minor}`)];
  const looks = await Promise.all(names.flatMap(findAllOnPath).map(lookAt));
  const found = new Map(looks.flatMap((python) => (python ? [[python.executable, python]] : [])));
  return [...found.values()];
}

/**
 * The user's own `python3` where it runs the torch of the production side, else the best of the others.
 * @param {readonly Python[]} pythons in the order of findPythons
 * @returns {Python | undefined}
 */
export function choosePython(pythons) {
  const usable = pythons.filter(isUsable);
  const first = usable[0];
  if (first && first.version[1] <= 13) return first;
  /** @param {Python} python */
  const rank = ({ version }) => PYTHON_MINORS.findIndex((minor) => minor === version[1]);
  return usable.toSorted((a, b) => rank(a) - rank(b))[0];
}

/**
 * @param {Python} python
 * @returns {boolean}
 */
export function isUsable({ version, freeThreaded }) {
  return version[0] === 3 && PYTHON_MINORS.some((minor) => minor === version[1]) && !freeThreaded;
}

/**
 * @param {readonly Python[]} pythons
 * @returns {string} a sentence for a machine without a Python that will do
 */
export function noPythonSentence(pythons) {
  const found =
    pythons.map(({ executable, version }) => `${executable} is ${version.join('.')}`).join(', ') || 'none was found';
  return (
    `The trainer needs Python 3.10 to 3.14 on PATH; ${found}.\n` +
    'Install one, on Debian and Ubuntu by: apt-get install -y python3 python3-pip'
  );
}

/**
 * The user's own Python with torch. A wrong one is an error: falling back would train with another torch than meant.
 * @param {string} program the value of TRAINER_PYTHON
 * @returns {Promise<PythonWithTorch>}
 */
export async function checkTrainerPython(program) {
  /** @param {string} why */
  const refuse = (why) =>
    new UserError(
      `TRAINER_PYTHON is ${JSON.stringify(program)}, ${why}.\n` +
        'Name a Python 3.10 to 3.14 that imports torch 2.4 or newer, or unset TRAINER_PYTHON and set-up installs one.',
    );
  const path = program.includes('/') ? program : findAllOnPath(program)[0];
  if (!path || !existsSync(path)) throw refuse('which does not exist');
  const python = await lookAt(path);
  if (!python) throw refuse('which does not run as a Python 3');
  if (!isUsable(python))
    throw refuse(`which is ${python.freeThreaded ? 'a free-threaded ' : ''}Python ${python.version.join('.')}`);
  const result = await run(path, ['-c', 'import torch; print("torch", torch.__version__)'], {
    timeoutMs: IMPORT_TIMEOUT_MS,
  });
  const torch = /^torch (\S+)$/m.exec(result.stdout)?.[1];
  if (result.code !== 0 || !torch) throw refuse(`which cannot import torch (${lastLines(result, 1).trim()})`);
  if (!isAtLeast(parseVersion(torch), LEAST_TORCH)) throw refuse(`which has torch ${torch}`);
  return { ...python, torch };
}

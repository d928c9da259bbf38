/** Finds uv, or fetches its pinned wheel with any pip that the machine has and takes the one binary out. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { root, sha256File } from './files.mjs';
import { LEAST_UV, UV_BINARIES, UV_VERSION } from './pins.mjs';
import { findAllOnPath, lastLines, run, withRetries } from './run.mjs';
import { formatBytes, UserError } from './say.mjs';
import { isAtLeast, parseVersion } from './versions.mjs';

/** @typedef {import('./python.mjs').Python} Python */

/**
 * @param {string} cache our cache folder
 * @param {() => Promise<readonly Python[]>} pythons asked only when uv must be fetched
 * @returns {Promise<{ did: string, value: string }>} the program
 */
export async function ensureUv(cache, pythons) {
  for (const path of findAllOnPath('uv')) {
    const { code, stdout } = await run(path, ['--version'], { timeoutMs: 10_000 });
    const version = parseVersion(stdout);
    if (code === 0 && isAtLeast(version, LEAST_UV)) return { did: `${version?.join('.')} on PATH`, value: path };
  }
  const path = join(cache, 'tools', `uv-${UV_VERSION}`, 'uv');
  if (existsSync(path) && UV_BINARIES.has(await sha256File(path)))
    return { did: `${UV_VERSION} in the cache`, value: path };
  const bytes = await fetchUv(path, await pythons());
  return { did: `${UV_VERSION} fetched, ${formatBytes(bytes)}, SHA-256 as pinned`, value: path };
}

/** Takes `uv` out of a wheel: a wheel is a zip, and Python reads it without any package. Prints the wheel's size. */
const UNPACK = `
import os, shutil, sys, zipfile
wheel, target = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    name = next(n for n in archive.namelist() if n.endswith(".data/scripts/uv"))
    with archive.open(name) as source, open(target, "wb") as out:
        shutil.copyfileobj(source, out)
print(os.path.getsize(wheel))`;

/**
 * @param {string} path where uv shall be
 * @param {readonly Python[]} pythons
 * @returns {Promise<number>} bytes downloaded
 */
async function fetchUv(path, pythons) {
  const pip = await findPip(pythons);
  const folder = join(path, '..');
  mkdirSync(folder, { recursive: true });
  const scratch = mkdtempSync(join(folder, 'download-'));
  try {
    const requirements = join(root, 'trainer/requirements/uv.txt');
    const download = await withRetries('uv', () =>
      run(pip.program, [
        ...[...pip.args, 'download', '--disable-pip-version-check', '--no-deps', '--only-binary', ':all:'],
        ...['--require-hashes', '--requirement', requirements, '--retries', '5', '--timeout', '30', '--dest', scratch],
      ]),
    );
    const wheel = readdirSync(scratch).find((name) => name.endsWith('.whl'));
    if (download.code !== 0 || !wheel) {
      throw new UserError(
        `pip could not fetch uv ${UV_VERSION}, which installs the trainer's packages.\n${lastLines(download)}`,
      );
    }
    const binary = join(scratch, 'uv');
    const unpacked = await run(pip.program, ['-I', '-c', UNPACK, join(scratch, wheel), binary]);
    if (unpacked.code !== 0)
      throw new UserError(`The wheel of uv ${UV_VERSION} could not be unpacked.\n${lastLines(unpacked)}`);
    const digest = await sha256File(binary);
    if (!UV_BINARIES.has(digest)) {
      throw new UserError(
        `The uv in ${wheel} has SHA-256 ${digest}, which is none of the pinned ones; it was not run and is deleted.`,
      );
    }
    chmodSync(binary, 0o755);
    renameSync(binary, path);
    return Number(unpacked.stdout);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Where Python and Debian keep the pip that makes new environments, on machines that have no pip of their own. */
const BUNDLED_PIP = `
import glob, os
folders = ["/usr/share/python-wheels"]
try:
    import ensurepip
    folders.insert(0, os.path.join(os.path.dirname(ensurepip.__file__), "_bundled"))
except ImportError:
    pass
print(next((w for f in folders for w in sorted(glob.glob(os.path.join(f, "pip-*.whl")))), ""))`;

/**
 * @param {readonly Python[]} pythons
 * @returns {Promise<{ program: string, args: readonly string[] }>}
 */
async function findPip(pythons) {
  for (const { executable } of pythons) {
    const { code } = await run(executable, ['-m', 'pip', '--version'], { timeoutMs: 30_000 });
    if (code === 0) return { program: executable, args: ['-m', 'pip'] };
  }
  for (const { executable } of pythons) {
    const wheel = (await run(executable, ['-I', '-c', BUNDLED_PIP], { timeoutMs: 30_000 })).stdout.trim();
    if (wheel) return { program: executable, args: [`${wheel}/pip`] }; // Python runs a package inside a zip
  }
  throw new UserError(
    `This machine has neither uv nor pip (looked at ${pythons.map(({ executable }) => executable).join(', ') || 'PATH: no Python 3'}).\n` +
      'Install one of them, on Debian and Ubuntu by: apt-get install -y python3-pip',
  );
}

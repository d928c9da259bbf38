/** The whole set-up: what is missing and nothing else. A second start only looks, which takes a fraction of a second. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { ensureBuilt, isBuilt } from './build.mjs';
import { cache, currentEnvironment, describe, makeEnvironment } from './environment.mjs';
import { root } from './files.mjs';
import { withLock } from './lock-file.mjs';
import { installNpmPackages, npmPackagesAreThere } from './npm-packages.mjs';
import { LEAST_NODE } from './pins.mjs';
import { checkTrainerPython, choosePython, findPythons, noPythonSentence } from './python.mjs';
import { formatDuration, say, step, UserError } from './say.mjs';
import { findTemporalCli } from './temporal-cli.mjs';
import { ensureUv } from './uv.mjs';
import { isAtLeast, parseVersion } from './versions.mjs';

/** Makes this clone ready to run, with or without a network once it was. Throws a UserError that says what to do. */
export async function ensureSetUp() {
  const startMs = performance.now();
  say('Anneal set-up');
  if (!isAtLeast(parseVersion(process.version), LEAST_NODE)) {
    throw new UserError(
      `Anneal needs Node ${LEAST_NODE.join('.')} or newer; this is ${process.version}. Install a newer Node, then start again.`,
    );
  }
  if (npmPackagesAreThere() && currentEnvironment() && isBuilt()) {
    await findTemporalCli();
    say(`  all there (${formatDuration(performance.now() - startMs)})`);
    return;
  }
  await withLock(join(root, '.anneal/set-up.lock'), setUpClone);
  say(`  done in ${formatDuration(performance.now() - startMs)}`);
}

async function setUpClone() {
  await step('npm packages', installNpmPackages);
  await setUpPython();
  await step('Temporal CLI', findTemporalCli);
  await step('build', ensureBuilt);
}

async function setUpPython() {
  const current = currentEnvironment();
  if (current) return step('Python', async () => ({ did: describe(current), value: undefined }));
  mkdirSync(cache, { recursive: true });
  // Another clone may be making the same environment: then it is there when our turn comes.
  await withLock(join(cache, 'set-up.lock'), async () => {
    const named = process.env['TRAINER_PYTHON'];
    const trainerPython = named ? await checkTrainerPython(named) : undefined;
    const pythons = await findPythons();
    const python = trainerPython ?? choosePython(pythons);
    if (!python) throw new UserError(noPythonSentence(pythons));
    const uv = await step('uv', () => ensureUv(cache, async () => pythons));
    await step('Python', () => makeEnvironment(uv, python, trainerPython));
  });
}

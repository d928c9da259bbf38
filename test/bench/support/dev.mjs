/** An `anneal dev` for a bench: started, known to have its hosts, and ended. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { Anneal } from '../../../dist/client/index.js';
import { root } from '../../../scripts/lib/files.mjs';
import { UserError } from '../../../scripts/lib/say.mjs';

/**
 * @param {{ scratch: string, state: string, agents: number }} where
 * @returns {Promise<{ anneal: Anneal, end: () => Promise<void> }>}
 */
export async function startDev({ scratch, state, agents }) {
  const log = openSync(join(scratch, 'dev.log'), 'a');
  const args = [join(root, 'bin/anneal.mjs'), 'dev', '--state-dir', state, '--agents', String(agents)];
  const dev = spawn(process.execPath, args, { stdio: ['ignore', log, log] });
  process.once('exit', () => dev.kill('SIGINT')); // also when the bench is interrupted
  const deadline = performance.now() + 60_000;
  while (performance.now() < deadline && dev.exitCode === null) {
    const anneal = await Anneal.connect({ stateDir: state }).catch(() => undefined);
    const hosts = (await anneal?.hosts.list().catch(() => [])) ?? [];
    if (anneal !== undefined && hosts.filter(({ live }) => live).length === agents) {
      const end = async () => {
        await anneal.close();
        dev.kill('SIGINT');
        await once(dev, 'exit');
      };
      return { anneal, end };
    }
    await anneal?.close();
    await wait(500);
  }
  dev.kill('SIGINT');
  throw new UserError(
    `anneal dev had no ${String(agents)} live hosts after a minute:\n${readFileSync(join(scratch, 'dev.log'), 'utf8')}`,
  );
}

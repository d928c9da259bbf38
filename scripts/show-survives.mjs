/**
 * `npm run show:survives [-- --only "TEXT|TEXT"]`: plays the kill table and prints a line for each row as it ends. These are the rows
 * and the assertions of `npm test`, which plays some of them; `--only` plays those whose names hold one of the texts.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from './lib/files.mjs';
import { run } from './lib/run.mjs';
import { fail } from './lib/say.mjs';
import { ensureSetUp } from './lib/set-up.mjs';

const LIMIT_MS = 90 * 60_000;

try {
  const { values } = parseArgs({ options: { only: { type: 'string' } } });
  await ensureSetUp();
  const reporter = join(root, 'test/support/survives/reporter.ts');
  // No second try: a row that survives now and then is what the table is to show.
  const args = ['run', '--project', 'e2e', '--retry=0', 'test/e2e/recovery.test.ts', `--reporter=${reporter}`];
  const { code } = await run(process.execPath, [join(root, 'node_modules/vitest/vitest.mjs'), ...args], {
    cwd: root,
    env: { ANNEAL_SURVIVES: values.only ?? 'all' },
    timeoutMs: LIMIT_MS,
    live: true,
  });
  process.exitCode = code;
} catch (error) {
  fail(error);
}

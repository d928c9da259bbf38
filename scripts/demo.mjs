/** `npm run demo`: set-up, then `anneal demo` with the same arguments, in the same terminal. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { root } from './lib/files.mjs';
import { fail, step } from './lib/say.mjs';
import { ensureSetUp } from './lib/set-up.mjs';
import { ensureVersitygw } from './lib/versitygw.mjs';

const args = process.argv.slice(2);

try {
  await ensureSetUp();
  const store = args.includes('--store=s3') || (args.includes('--store') && args[args.indexOf('--store') + 1] === 's3');
  if (store) await step('S3 server', ensureVersitygw);
} catch (error) {
  fail(error);
}
const child = spawn(process.execPath, [join(root, 'dist/cli/main.js'), 'demo', ...args], {
  stdio: 'inherit',
});
// Ctrl-C reaches the demo by the terminal; it needs us to wait while it ends its own processes.
process.on('SIGINT', () => {});
// These come to this process alone.
for (const signal of /** @type {const} */ (['SIGTERM', 'SIGHUP'])) process.on(signal, () => child.kill(signal));
child.on('exit', (code) => process.exit(code ?? 1));

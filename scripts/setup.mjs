/** `npm run setup`: installs and builds what this clone is missing. Needs Node and a Python, nothing else. */
import { fail } from './lib/say.mjs';
import { ensureSetUp } from './lib/set-up.mjs';

try {
  await ensureSetUp();
} catch (error) {
  fail(error);
}

/** `npm run setup:s3`: builds versitygw, the S3 server of the tests and of `--store s3`. Needs Go and, once, the network. */
import { fail, say, step } from './lib/say.mjs';
import { ensureVersitygw } from './lib/versitygw.mjs';

try {
  say('S3 server (the first build takes some minutes)');
  await step('versitygw', ensureVersitygw);
} catch (error) {
  fail(error);
}

/** Downloads a file and prints how far it is, so that a test can kill it there. */
import { downloadSources } from '../../../../src/storage/download.js';

const [url = '', folder = ''] = process.argv.slice(2);
await downloadSources([{ url, path: 'file.bin' }], folder, {
  onProgress: ({ bytesDone }) => process.stdout.write(`${bytesDone}\n`),
});

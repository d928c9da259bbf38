/** Stores a file and says when it is in the middle of it, so that a test can kill it there. */
import { openStore } from './open-store.js';

const [address = '', key = '', path = '', sha256 = '', sizeBytes = ''] = process.argv.slice(2);
let announced = false;
const store = await openStore(address);
await store.putFile(key, path, {
  sha256,
  sizeBytes: Number(sizeBytes),
  onProgress: ({ bytesDone, bytesTotal }) => {
    if (announced || bytesDone < bytesTotal / 2) return;
    announced = true;
    process.stdout.write('half-way');
    // Stops here until it is killed; without the kill the test's deadline ends it.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60_000);
  },
});

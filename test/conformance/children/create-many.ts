/** Creates objects one after the other until it is killed, and prints the number of each when it has been created. */
import { openStore } from './open-store.js';

const [address = '', sizeBytes = ''] = process.argv.slice(2);
const store = await openStore(address);
const body = Buffer.alloc(Number(sizeBytes), 7);
for (let number = 1; number <= 100_000; number++) {
  await store.create(`many/${number}`, body);
  process.stdout.write(`${number}\n`);
}

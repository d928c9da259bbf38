/** A racing writer: creates the same keys as its rivals, each round at an agreed time, and prints what each creation came to. */
import { openStore } from './open-store.js';

const [address = '', name = '', rounds = '', everyMs = ''] = process.argv.slice(2);
const store = await openStore(address);
await store.create(`ready/${name}`, '');
let startAt: Buffer | undefined;
while (startAt === undefined) startAt = await store.read('start');
const outcomes: string[] = [];
for (let round = 0; round < Number(rounds); round++) {
  const at = Number(startAt.toString()) + round * Number(everyMs);
  // Busy on purpose: a timer's millisecond of slack would let one writer always come first.
  while (Date.now() < at);
  outcomes.push(await store.create(`race/${round}.json`, JSON.stringify({ winner: name })));
}
process.stdout.write(outcomes.join(','));

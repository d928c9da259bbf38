import { afterAll, beforeAll, expect, test } from 'vitest';
import { Rig } from '../support/rig.js';
let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start(['host-a', 'host-b']);
});
afterAll(async () => {
  await rig.stop();
});
test('trains', async () => {
  const t = Date.now();
  const run = await rig.train('one', { iterations: 30, every: 10 });
  console.log(await run.result(), Date.now() - t, await rig.history('one'));
  console.log(await rig.printed((await rig.nodes('one'))[1]));
});

/** The host's fence: work of a lease that is over is refused, also after a restart of the agent. */
import { expect, test } from 'vitest';
import { passFence } from '../../../src/activities/host/fence.js';
import { scratchFolder } from '../../support/scratch.js';

test('a lower fence than one seen is refused, the same and a higher one pass', async () => {
  const workRoot = await scratchFolder();
  await passFence(workRoot, 'host-a', 3);
  await passFence(workRoot, 'host-a', 3);
  await passFence(workRoot, 'host-a', 5);
  await expect(passFence(workRoot, 'host-a', 4)).rejects.toMatchObject({
    type: 'StaleGeneration',
    message: 'Host host-a was leased again since (fence 5); work under fence 4 is refused.',
  });
});

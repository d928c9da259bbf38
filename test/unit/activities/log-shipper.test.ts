/** A log in the store is the log on the host, whatever restarts in between. */
import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { shipLog } from '../../../src/activities/host/log-shipper.js';
import { FolderStore } from '../../../src/storage/folder-store.js';
import { scratchFolder } from '../../support/scratch.js';

test('chunks put together are the log, also when a second shipper goes on after the first', async () => {
  const root = await scratchFolder();
  const store = new FolderStore(join(root, 'store'));
  const path = join(root, 'trainer.log');
  const shipment = { store, runId: 'run', log: 'train-g1-node0', path };
  let written = '';
  for (const text of ['first\n', 'second, longer\n'.repeat(30_000), '', 'third\n']) {
    await appendFile(path, text);
    written += text;
    await shipLog(shipment).stop();
  }
  let shipped = '';
  for await (const { key } of store.list('runs/run/logs/')) shipped += (await store.read(key))?.toString() ?? '';
  expect(shipped).toBe(written);
});

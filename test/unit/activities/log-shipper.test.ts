/** A log in the store is the log on the host, whatever restarts in between. */
import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { shipLog } from '../../../src/activities/host/log-shipper.js';
import { readChunks } from '../../../src/storage/chunks.js';
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

test('two shippers of one log at a time, as of an agent that is replaced, lose and double nothing', async () => {
  const root = await scratchFolder();
  const store = new FolderStore(join(root, 'store'));
  const path = join(root, 'metrics.jsonl');
  const shipment = { store, runId: 'run', log: 'metrics-g1', path };
  const shippers = [shipLog(shipment), shipLog(shipment)];
  let written = '';
  for (let turn = 0; turn < 20; turn += 1) {
    const text = `line ${String(turn)}\n`.repeat(1 + turn);
    await appendFile(path, text);
    written += text;
    await Promise.all(shippers.map((shipper) => shipper.flush()));
    expect((await readChunks(store, 'runs/run/logs/metrics-g1/')).map(String)).toEqual([written]);
  }
  await Promise.all(shippers.map((shipper) => shipper.stop()));
});

test('a flush that the store does not take rejects, and the next one sends the same bytes', async () => {
  const root = await scratchFolder();
  const store = new FolderStore(join(root, 'store'));
  const path = join(root, 'metrics.jsonl');
  await appendFile(path, 'line\n');
  let isAway = true;
  const create: FolderStore['create'] = (...args) =>
    isAway ? Promise.reject(new Error('away')) : store.create(...args);
  const seen = new Proxy(store, {
    get: (target, name) => (name === 'create' ? create : (Reflect.get(target, name) as () => unknown).bind(target)),
  });
  const shipper = shipLog({ store: seen, runId: 'run', log: 'metrics-g1', path });
  await expect(shipper.flush()).rejects.toThrow('away');
  isAway = false;
  await shipper.flush();
  expect((await readChunks(store, 'runs/run/logs/metrics-g1/')).map(String)).toEqual(['line\n']);
  await shipper.stop();
});

/**
 * Records the golden histories anew: `npm run histories:record`. Do it only for a workflow whose running executions are
 * drained or patched; the old files are what proves that running ones still replay.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FakeCluster } from '../support/fake-cluster.js';
import { startTemporal, type TestServer } from '../support/temporal.js';
import { SCENARIOS, workflowsOf } from './scenarios.js';

let server: TestServer;
beforeAll(async () => {
  server = await startTemporal();
});
afterAll(() => server.stop());

const folder = new URL('./golden/', import.meta.url);

test.each(SCENARIOS)('records $name', async ({ name, behaviour, drive }) => {
  const cluster = await FakeCluster.start(server.address, name, behaviour());
  try {
    await (drive === undefined ? cluster.run(name) : drive(cluster, name));
    await mkdir(folder, { recursive: true });
    for (const [kind, workflowId] of workflowsOf(name, cluster.name)) {
      const history = await cluster.client.workflow.getHandle(workflowId).fetchHistory();
      expect(history.events?.length).toBeGreaterThan(3);
      const json = historyToJSON(history);
      await writeFile(new URL(`${name}.${kind}.json`, folder), json.endsWith('\n') ? json : `${json}\n`);
    }
  } finally {
    await cluster.stop();
  }
});

/** One dev server for the tests of a file, and for each test a cluster of its own on it, which ends with the test. All that it has recorded must replay. */
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { FakeCluster, type Behaviour } from './fake-cluster.js';
import { unreplayable } from './replay.js';
import { startTemporal, type TestServer } from './temporal.js';

/** Call once, at the top of a test file; the answer starts a cluster. `prefix` begins the names of the file's clusters. */
export function freshClusters(prefix: string): (behaviour: Behaviour) => Promise<FakeCluster> {
  let server: TestServer;
  let started: FakeCluster[] = [];
  let count = 0;
  beforeAll(async () => {
    server = await startTemporal();
  });
  afterEach(async () => {
    await Promise.all(started.map((cluster) => cluster.stop()));
    started = [];
  });
  afterAll(async () => {
    try {
      expect(await unreplayable(server.address)).toEqual([]);
    } finally {
      await server.stop();
    }
  });
  return async (behaviour) => {
    count += 1;
    const cluster = await FakeCluster.start(server.address, `${prefix}${String(count)}`, behaviour);
    started.push(cluster);
    return cluster;
  };
}

/** What the bench of the pool runs beside the pool itself: a workflow that borrows hosts as a gang does, and holds them for a moment. */
import { sleep } from '@temporalio/workflow';
import { withHosts } from '../../dist/workflows/lease.js';

export { hostPool } from '../../dist/workflows/host-pool.js';

/**
 * @param {{ cluster: string, hosts: number, holdMs: number }} wish
 * @returns {Promise<{ waitedMs: number, fences: readonly string[] }>}
 */
export async function borrow({ cluster, hosts, holdMs }) {
  const askedAt = Date.now();
  const borrowing = { cluster, generation: 1, hosts, npusPerHost: 8, runtime: /** @type {const} */ ('ascend') };
  return withHosts({ ...borrowing, hasBegun: false, onWaiting: () => undefined }, async ({ leases }) => {
    const waitedMs = Date.now() - askedAt;
    await sleep(holdMs);
    return { waitedMs, fences: leases.map(({ host, fence }) => `${host.name} ${fence}`) };
  });
}

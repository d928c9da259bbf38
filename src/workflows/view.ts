/** What the Temporal UI shows of the pool: short Markdown, in a code block since the UI renders tables without padding. */
import type { Pool } from '../plan/leases.js';
import { block, harmless } from './page-text.js';

export function poolDetails({ hosts, queue }: Pool): string {
  const rows = hosts.map(({ facts, live, owner, fence }) => {
    const lease = owner === null ? 'free' : `${owner.workflowId} g${String(owner.generation)}`;
    return `${harmless(facts.name, 64).padEnd(20)}${(live ? 'live' : 'silent').padEnd(8)}${String(facts.npus).padStart(3)} NPUs  fence ${String(fence).padStart(4)}  ${harmless(lease)}`;
  });
  return [`### ${String(hosts.length)} hosts, ${String(queue.length)} requests waiting`, block(rows)].join('\n');
}

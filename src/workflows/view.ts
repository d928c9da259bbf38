/** What the Temporal UI shows of the pool: short Markdown, in a code block since the UI renders tables without padding. */
import { hostStatus, type Pool } from '../plan/hosts.js';
import { block, harmless } from './page-text.js';

/** Of a large cluster only so many hosts: the page is for a look, `anneal hosts` has them all. */
const HOSTS_SHOWN = 100;

export function poolDetails({ hosts, queue }: Pool): string {
  const rows = hosts.slice(0, HOSTS_SHOWN).map((host) => {
    const { facts, live, owner, fence, vacating, cordon } = host;
    const lease = owner === null ? '' : `${owner.workflowId} g${String(owner.generation)}`;
    const note = harmless(lease || (vacating?.why ?? cordon?.reason ?? ''));
    return `${harmless(facts.name, 64).padEnd(20)}${(live ? 'live' : 'silent').padEnd(8)}${String(facts.npus).padStart(3)} NPUs  fence ${String(fence).padStart(4)}  ${hostStatus(host).padEnd(12)}${note}`;
  });
  const more = hosts.length > HOSTS_SHOWN ? [`… and ${String(hosts.length - HOSTS_SHOWN)} more`] : [];
  const head = `### ${String(hosts.length)} hosts, ${String(queue.length)} requests waiting`;
  return [head, block([...rows, ...more])].join('\n');
}

/** `anneal hosts`: what the pool knows of its hosts, who holds them, and which process trains there. */
import type { HostListing } from '../../client/index.js';
import { EXIT_CODES } from '../exit-codes.js';
import { note, print, printJson } from '../output.js';
import { textTable } from '../../report/table.js';
import { withAnneal, type WhereFlags } from '../where.js';

export async function hosts(flags: WhereFlags & { readonly json?: boolean }): Promise<number> {
  return withAnneal(flags, async (anneal) => {
    const listed = await anneal.hosts.list();
    if (flags.json) printJson(listed);
    else if (listed.length === 0)
      note(
        `No agent has registered with cluster "${anneal.place.cluster}" yet. Start one: anneal agent --config agent.yaml`,
      );
    else print(showHosts(listed));
    return EXIT_CODES.ok.code;
  });
}

export function showHosts(listed: readonly HostListing[]): string {
  const rows = listed.map(({ facts, live, fence, owner, trainerPid }) => [
    facts.name,
    live ? 'live' : 'silent',
    String(facts.npus),
    facts.runtime,
    facts.address,
    String(facts.agentPid),
    trainerPid === undefined ? '-' : String(trainerPid),
    String(fence),
    owner === null ? '-' : `${owner.workflowId} (generation ${String(owner.generation)})`,
  ]);
  return textTable(
    ['HOST', 'AGENT', 'NPUS', 'RUNTIME', 'ADDRESS', 'AGENT PID', 'TRAINER PID', 'FENCE', 'HELD BY'],
    rows,
  );
}

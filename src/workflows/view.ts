/** What the Temporal UI shows of a run, a gang and the pool: short Markdown, made of our own words and numbers only. */
import type { GangState, RunState, StageState } from '../contract/messages.js';
import type { Pool } from '../plan/leases.js';

const MARKS: Readonly<Record<StageState['status'], string>> = {
  waiting: '·',
  running: '▶',
  done: '✔',
  reused: '↺',
  failed: '✘',
};

/** The run's page. The UI renders tables without padding, so the columns stand in a code block. */
export function runDetails({ runId, outcome, stages }: RunState): string {
  const rows = stages.map(({ stage, status, startedAt, endedAt, hosts, note }) => {
    const took = startedAt !== undefined && endedAt !== undefined ? `${seconds(endedAt - startedAt)} s` : '';
    return `${MARKS[status]} ${stage.padEnd(9)}${status.padEnd(8)}${took.padStart(8)}  ${[hosts.join(', '), note].filter(Boolean).join(' · ')}`;
  });
  const hint = outcome === 'running' ? ['Stop it with **Cancel**: trainers save first.'] : [];
  return [`### Run ${runId}: ${outcome}`, '```', ...rows, '```', ...hint].join('\n');
}

export function gangDetails(gang: GangState): string {
  const { generation, hosts, phase, committedIteration, iterations, incidents } = gang;
  const lines = [
    `### Generation ${String(generation)}: ${phase}`,
    `${bar(committedIteration, iterations)} committed iteration **${String(committedIteration)}** of ${String(iterations)}`,
    `Hosts by node rank: ${hosts.length === 0 ? 'none yet' : hosts.map((host) => `\`${host}\``).join(', ')}`,
  ];
  for (const { generation: of, host, failure, decision, iterationsLost } of incidents)
    lines.push(
      `- generation ${String(of)}, \`${host}\`: **${failure}**, ${String(iterationsLost)} iterations lost. ${decision}`,
    );
  return lines.join('\n\n');
}

export function poolDetails({ hosts, queue }: Pool): string {
  const rows = hosts.map(({ facts, live, owner, fence }) => {
    const lease = owner === null ? 'free' : `${owner.workflowId} g${String(owner.generation)}`;
    return `${facts.name.padEnd(20)}${(live ? 'live' : 'silent').padEnd(8)}${String(facts.npus).padStart(3)} NPUs  fence ${String(fence).padStart(4)}  ${lease}`;
  });
  return [`### ${String(hosts.length)} hosts, ${String(queue.length)} requests waiting`, '```', ...rows, '```'].join(
    '\n',
  );
}

/** Twenty characters that read as a bar, in a code span since the UI shows it best there. */
function bar(done: number, total: number): string {
  const filled = total === 0 ? 0 : Math.min(20, Math.floor((20 * done) / total));
  return `\`${'█'.repeat(filled)}${'░'.repeat(20 - filled)}\``;
}

function seconds(durationMs: number): string {
  return (durationMs / 1000).toFixed(1);
}

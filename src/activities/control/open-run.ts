/** Opens a run: checks the spec, derives and stores the plan, and makes sure that the cluster has its pool. */
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/client';
import type { ControlActivities, RunOpening } from '../../contract/activities.js';
import { WORKFLOW_TYPES, type HostPoolInput } from '../../contract/messages.js';
import { controlQueue, poolWorkflowId } from '../../contract/names.js';
import { composePlan } from '../../backends/compose-plan.js';
import { refuseSize } from '../../plan/placement.js';
import type { Plan, StageName } from '../../plan/plan.js';
import { showRefusal } from '../../spec/refusal.js';
import { failure, orFail } from '../fail.js';
import { writeRunDocuments } from '../run-documents.js';
import type { ControlDeps } from './deps.js';
import { poolOf } from './hosts.js';

/** Agents of a cluster that is just being started register within this time; after that a run is not held up by a hope. */
const JOINING_MS = 60_000;

export function createOpenRun(deps: ControlDeps): ControlActivities['openRun'] {
  return ({ runId, cluster, spec }) =>
    orFail(async () => {
      const composed = composePlan(spec);
      if ('refusals' in composed)
        throw failure('SpecInvalid', composed.refusals.map(showRefusal).join('\n'), composed.refusals);
      const planDigest = await writeRunDocuments(deps.store, runId, spec, composed.plan);
      await ensurePool(deps, cluster);
      await checkSize(deps, cluster, composed.plan);
      const { priority } = spec;
      return { ...openingOf(composed.plan, planDigest, deps), ...(priority && { priority }) };
    });
}

function openingOf(plan: Plan, planDigest: string, { timing }: ControlDeps): RunOpening {
  const { hosts, npusPerHost, iterations, saveEveryIterations, keepCheckpoints, reportingNode } = plan.gang;
  const inputs = Object.fromEntries(Object.entries(plan.stages).map(([stage, { inputs: names }]) => [stage, names]));
  return {
    ...{ planDigest, hosts, npusPerHost, iterations, saveEveryIterations, keepCheckpoints, reportingNode, timing },
    runtime: plan.runtime,
    inputs: inputs as Record<StageName, Plan['stages'][StageName]['inputs']>,
    minimumAccuracy: plan.gate.minimumAccuracy,
    publishAs: plan.publishAs,
  };
}

/** The pool is one workflow per cluster; whoever comes first starts it. */
export async function ensurePool({ client }: ControlDeps, cluster: string): Promise<void> {
  const input: HostPoolInput = { cluster };
  try {
    await client.workflow.start(WORKFLOW_TYPES.hostPool, {
      workflowId: poolWorkflowId(cluster),
      taskQueue: controlQueue(cluster),
      args: [input],
      workflowIdConflictPolicy: 'USE_EXISTING',
      staticSummary: `hosts of ${cluster}`,
    });
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
  }
}

/** A run that needs more hosts than the cluster has is refused before it costs anything; what its hosts do now does not matter. */
async function checkSize(deps: ControlDeps, cluster: string, { gang, runtime }: Plan): Promise<void> {
  const { hosts, joinedAt } = await poolOf(deps, cluster);
  const refusal = refuseSize(hosts, cluster, { hosts: gang.hosts, npusPerHost: gang.npusPerHost, runtime });
  if (refusal === undefined) return;
  const isJoining = Date.now() - joinedAt < JOINING_MS;
  throw failure(isJoining ? 'NoHost' : 'ClusterTooSmall', refusal);
}

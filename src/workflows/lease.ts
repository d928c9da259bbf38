/** Hosts on loan from the pool: ask, wait, use, and always give back. */
import {
  CancellationScope,
  condition,
  defineSignal,
  getExternalWorkflowHandle,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import { poolWorkflowId } from '../contract/names.js';
import { SIGNALS } from '../contract/messages.js';
import type { HostGrant, HostRequest, LeaseOwner } from '../plan/hosts.js';

const hostsGranted = defineSignal<[HostGrant]>(SIGNALS.hostsGranted);
const hostsAwaited = defineSignal<[string]>(SIGNALS.hostsAwaited);
const requestHosts = defineSignal<[HostRequest]>(SIGNALS.requestHosts);
const releaseHosts = defineSignal<[LeaseOwner]>(SIGNALS.releaseHosts);

export interface Borrowing {
  readonly cluster: string;
  readonly generation: number;
  readonly hosts: number;
  readonly npusPerHost: number;
  readonly runtime: 'cpu' | 'ascend';
  /** Called with the pool's reason while the request waits. */
  readonly onWaiting: (reason: string) => void;
}

/** Leases for one generation; given back when `use` ends, however it ends. `use` must leave no process on them. */
export async function withHosts<Result>(
  { cluster, generation, hosts, npusPerHost, runtime, onWaiting }: Borrowing,
  use: (grant: HostGrant) => Promise<Result>,
): Promise<Result> {
  const { workflowId, firstExecutionRunId } = workflowInfo();
  const owner: LeaseOwner = { workflowId, firstRunId: firstExecutionRunId, generation };
  const pool = getExternalWorkflowHandle(poolWorkflowId(cluster));

  let grant: HostGrant | undefined;
  setHandler(hostsGranted, (granted) => {
    // A grant for an earlier generation may arrive late; it was given back when that generation ended.
    if (granted.generation === generation) grant = granted;
  });
  setHandler(hostsAwaited, onWaiting);
  try {
    await pool.signal(requestHosts, { owner, hosts, npusPerHost, runtime });
    await condition(() => grant !== undefined);
    return await use(grant as unknown as HostGrant);
  } finally {
    await CancellationScope.nonCancellable(() => pool.signal(releaseHosts, owner));
  }
}

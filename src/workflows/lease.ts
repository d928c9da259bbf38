/** Hosts on loan from the pool: ask, wait, use, and always give back. */
import {
  CancellationScope,
  condition,
  defineSignal,
  getExternalWorkflowHandle,
  isCancellation,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import { poolWorkflowId } from '../contract/names.js';
import { SIGNALS } from '../contract/messages.js';
import { hostFaults } from '../plan/host-faults.js';
import {
  isSameOwner,
  type HostBlame,
  type HostDrain,
  type HostFault,
  type HostGrant,
  type HostRelease,
  type HostRequest,
  type LeaseOwner,
} from '../plan/hosts.js';
import { GangBroken, HostDrained } from './gang.js';

const hostsGranted = defineSignal<[HostGrant]>(SIGNALS.hostsGranted);
const hostsAwaited = defineSignal<[string]>(SIGNALS.hostsAwaited);
const hostDrained = defineSignal<[HostDrain]>(SIGNALS.hostDrained);
const requestHosts = defineSignal<[HostRequest]>(SIGNALS.requestHosts);
const blameSignal = defineSignal<[HostBlame]>(SIGNALS.blameHost);
const releaseHosts = defineSignal<[HostRelease]>(SIGNALS.releaseHosts);

/** A pool that was terminated is begun anew by the agents within seconds, and knows nothing of those who wait: they ask again. */
const ASK_AGAIN_MS = { first: 30_000, most: 10 * 60_000 };

export interface Borrowing extends Omit<HostRequest, 'owner'> {
  readonly cluster: string;
  readonly generation: number;
  /** Called with the pool's reason while the request waits. */
  readonly onWaiting: (reason: string) => void;
}

/**
 * Leases for one generation; given back when `use` ends, however it ends, with what speaks against single hosts. When one of the
 * hosts is to be drained, `use` is cancelled, and when it has ended, in its own time, this throws `HostDrained`.
 */
export async function withHosts<Result>(
  { cluster, generation, onWaiting, ...wish }: Borrowing,
  use: (grant: HostGrant) => Promise<Result>,
): Promise<Result> {
  const { workflowId, firstExecutionRunId } = workflowInfo();
  const owner: LeaseOwner = { workflowId, firstRunId: firstExecutionRunId, generation };
  const pool = getExternalWorkflowHandle(poolWorkflowId(cluster));

  const asked: { grant?: HostGrant } = {};
  setHandler(hostsGranted, (granted) => {
    // One for another generation, or for a workflow that had this id before, may arrive late; the pool takes it back itself.
    if (isSameOwner(granted.owner, owner)) asked.grant = granted;
  });
  setHandler(hostsAwaited, onWaiting);
  const using = new CancellationScope();
  const ended: { by?: HostDrained } = {};
  setHandler(hostDrained, (drain) => {
    // A late word of an earlier lease is not about this one.
    const isOurs = asked.grant?.leases.some(({ host, fence }) => host.name === drain.host && fence === drain.fence);
    if (isOurs !== true) return;
    ended.by ??= new HostDrained(drain);
    using.cancel();
  });
  let faults: readonly HostFault[] = [];
  try {
    // Bounded by the run's life: six events a turn, a hundred and fifty turns a day.
    for (let wait = ASK_AGAIN_MS.first; asked.grant === undefined; wait = Math.min(2 * wait, ASK_AGAIN_MS.most)) {
      await unlessGone(() => pool.signal(requestHosts, { owner, ...wish }));
      await condition(() => asked.grant !== undefined, wait);
    }
    const { grant } = asked;
    return await using.run(() => use(grant));
  } catch (error) {
    const { by } = ended;
    if (by !== undefined && isCancellation(error) && !CancellationScope.current().consideredCancelled) throw by;
    if (error instanceof GangBroken) faults = hostFaults(error.failures);
    throw error;
  } finally {
    await CancellationScope.nonCancellable(() => unlessGone(() => pool.signal(releaseHosts, { owner, faults })));
  }
}

/** What speaks against a host by comparison: the pool cordons it. */
export async function blameHost(cluster: string, fault: HostFault): Promise<void> {
  const pool = getExternalWorkflowHandle(poolWorkflowId(cluster));
  await unlessGone(() => pool.signal(blameSignal, { metBy: workflowInfo().workflowId, fault }));
}

/** A pool that is not there now neither grants nor waits for a release: its successor hears from the hosts what they hold. */
async function unlessGone(say: () => Promise<void>): Promise<void> {
  try {
    await say();
  } catch (error) {
    if (isCancellation(error)) throw error;
  }
}

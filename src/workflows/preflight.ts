/** The look at all hosts of a gang before it is launched: an unfit one breaks the gang before anything can go wrong on it. */
import { CancellationScope, isCancellation } from '@temporalio/workflow';
import { judgePreflight, type NodeLook } from '../plan/preflight.js';
import { onIo } from './activities.js';
import { failureFacts } from './failure.js';
import { GangBroken, type Generation } from './gang.js';
import { CHECK } from './options.js';
import { isNoAnswer, type Probe } from './probe.js';

/** Shows what people should know of the hosts. */
export async function refuseUnfit(gang: Generation, probe: Probe): Promise<void> {
  const nodes = await Promise.all(gang.leases.map(({ host }) => look(gang, host.name, probe)));
  const { unfit, warnings } = judgePreflight(nodes);
  gang.view.show({ warnings });
  if (unfit.length > 0) throw new GangBroken(unfit);
}

async function look({ input, generation }: Generation, host: string, probe: Probe): Promise<NodeLook> {
  try {
    const look = await onIo(input.cluster, host, `preflight g${String(generation)}`, CHECK).checkHost();
    return { host, look };
  } catch (error) {
    if (isCancellation(error) && CancellationScope.current().consideredCancelled) throw error;
    // A look may only be slow; a host that gives no sign of life either would keep staging in waiting.
    if (isNoAnswer(error)) await probe.throwIfLost();
    return { host, look: { unknown: failureFacts(error).message } };
  }
}

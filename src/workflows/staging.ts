/** Before a launch: every host of a gang is fit and has what its ranks read, or none starts. Who is lost meanwhile is found in seconds. */
import { CancellationScope, isCancellation } from '@temporalio/workflow';
import { withRestored } from '../contract/gang-story.js';
import { onIo } from './activities.js';
import { failureFacts } from './failure.js';
import { GangBroken, hostOf, throwBroken, type Generation } from './gang.js';
import { RENDEZVOUS, STAGE_IN } from './options.js';
import { refuseUnfit } from './preflight.js';
import { isNoAnswer, Probe } from './probe.js';

/** A trainer that was left behind ends with its lease: no run has that many generations in that time. */
const PORTS_EXCLUDED = 100;
/** Who gives a sign of life so often and does not take the work up is a host at fault. */
const ASKS = 20;

/**
 * The look at the hosts and their copies at once: a look costs no recovery a second. Returns the rendezvous port on node 0's host. When a host
 * is lost, nobody waits for the copies of the others: they go on from where they are.
 */
export async function prepareHosts(gang: Generation): Promise<number> {
  const { runId, cluster, inputs } = gang.input;
  const { generation, from, checkFinite } = gang;
  const resumeFrom = from === undefined ? null : { iteration: from.iteration, checkpoint: from.checkpoint };
  const staging = new CancellationScope();
  const probe = new Probe(gang, staging);
  const staged = gang.leases.map(({ host, fence }, nodeRank) =>
    staging.run(() =>
      whileAnswered(probe, () =>
        onIo(cluster, host.name, `stage in g${String(generation)}`, STAGE_IN).stageIn({
          ...{ runId, generation, nodeRank, fence, owner: gang.owner, inputs, resumeFrom, checkFinite },
        }),
      ),
    ),
  );
  const allStaged = Promise.allSettled(staged);
  // A node that fails by itself is waited for with the others: its failure is told with theirs.
  const unlessLost = staged.map((one) =>
    one.catch((error: unknown) => {
      if (probe.lost.size > 0) throw error;
    }),
  );
  try {
    await Promise.all([staging.run(() => refuseUnfit(gang, probe)), ...unlessLost]);
  } catch (error) {
    // What has begun there is ended with the lease, and lies in folders that no other generation reads.
    staging.cancel();
    await allStaged;
    if (probe.lost.size === 0) throw error;
  }
  await throwBroken(gang, staged, { lost: probe.lost });
  const restored = (await Promise.all(staged)).flatMap((node) => node ?? []);
  gang.view.show(withRestored(gang.view.state, restored));
  return openRendezvous(gang, probe);
}

async function openRendezvous(gang: Generation, probe: Probe): Promise<number> {
  const { generation, input } = gang;
  const first = hostOf(gang, 0);
  const exclude = [...gang.ports].slice(-PORTS_EXCLUDED);
  try {
    const { port } = await whileAnswered(probe, () =>
      onIo(input.cluster, first, `rendezvous g${String(generation)}`, RENDEZVOUS).openRendezvous({
        ...{ runId: input.runId, generation, nodeRank: 0, exclude },
      }),
    );
    gang.ports.add(port);
    return port;
  } catch (error) {
    if (probe.lost.size > 0) throw new GangBroken([...probe.lost.values()]);
    if (isCancellation(error)) throw error;
    throw new GangBroken([{ host: first, nodeRank: 0, ...failureFacts(error) }]);
  }
}

/** Work that a host does not take up, or took up and went silent, is asked for again for as long as no host of the gang is lost. */
async function whileAnswered<Result>(probe: Probe, work: () => Promise<Result>): Promise<Result> {
  for (let asked = 0; ; asked += 1)
    try {
      return await work();
    } catch (error) {
      if (isCancellation(error) || !isNoAnswer(error) || asked === ASKS) throw error;
      await probe.throwIfLost();
    }
}

/** Gangs that lose a host, or hang: what the workflow tests look at and the golden histories keep. */
import { ApplicationFailure, Context } from '@temporalio/activity';
import type { TrainProgress, TrainRankInput, TrainRankResult } from '../../src/contract/activities.js';
import type { HostCheck, HostFinding } from '../../src/plan/preflight.js';
import { pause } from '../../src/process/wait.js';
import type { Behaviour, FakeCluster } from '../support/fake-cluster.js';

/** Beats until it is cancelled, as a trainer that lives does for its agent. */
async function trainOn({ generation }: TrainRankInput, host: string, iteration: number): Promise<TrainRankResult> {
  const at = Date.now();
  for (;;) {
    Context.current().heartbeat({
      ...{ host, at, phase: 'training', generation, iteration, iterations: 30 },
      ...{ quietSeconds: 0, shippedIteration: 0 },
    } satisfies TrainProgress);
    await Context.current().sleep(100);
  }
}

const committed = async (fake: FakeCluster, { runId }: TrainRankInput, from = 0): Promise<void> => {
  while (!fake.logOf(runId).some((fact) => fact.fact === 'commit' && fact.iteration >= from)) {
    Context.current().heartbeat();
    await Context.current().sleep(20);
  }
};

/** As a frozen agent: when it thaws, the server has given its attempt up. */
export const answerTooLate = (): Promise<void> => pause(10_000);

/** Node 0 loses its peer at iteration 17, and the peer's host answers nobody any more. */
export function hostIsLost(): Behaviour {
  let isGone = false;
  return {
    probeTrainer: async (host) => {
      isGone = true;
      if (host === 'host-b') await answerTooLate();
      return { trainer: 'running', ranks: [] };
    },
    vacateHost: (host) =>
      host === 'host-b' && isGone
        ? Promise.reject(ApplicationFailure.nonRetryable('It is away.', 'HostDirty'))
        : Promise.resolve(),
    trainRank: async (input, host, fake) => {
      if (input.nodeRank === 0) fake.save(input, input.generation === 1 ? 10 : 30);
      if (input.generation > 1) return { iteration: 30 };
      if (input.nodeRank === 1) return trainOn(input, host, 17);
      await committed(fake, input);
      await Context.current().sleep(300);
      throw ApplicationFailure.nonRetryable('Connection reset by peer.', 'PeerLost');
    },
  };
}

/** The second host is gone when it is to be staged in, while the first one still brings its copies. */
export function hostDiesBeforeLaunch(): Behaviour {
  const staged: string[] = [];
  return {
    stageIn: async (_, host) => {
      const isFirst = !staged.includes(host);
      staged.push(host);
      if (host === 'host-b') throw ApplicationFailure.nonRetryable('It was not taken up.', 'NotPickedUp');
      while (host === 'host-a' && isFirst) {
        Context.current().heartbeat();
        await Context.current().sleep(50);
      }
    },
    probeTrainer: async (host) => {
      if (host === 'host-b') await answerTooLate();
      return { trainer: 'absent', ranks: [] };
    },
    vacateHost: (host) =>
      host === 'host-b' && staged.length > 0
        ? Promise.reject(ApplicationFailure.nonRetryable('It is away.', 'HostDirty'))
        : Promise.resolve(),
  };
}

/** The last iteration is committed when node 1 ends, with a word of its own. */
export function endsAfterTheLastCommit(type: string): Behaviour {
  return {
    trainRank: async (input, _host, fake) => {
      if (input.nodeRank === 0) fake.save(input, 30);
      await committed(fake, input, 30);
      if (input.nodeRank === 0) return { iteration: 30 };
      throw ApplicationFailure.nonRetryable('Its last words.', type);
    },
  };
}

/** The first host has a link that is down, and the second one a clock that nobody keeps right. */
export function hostIsUnfit(): Behaviour {
  const found = (check: string, severity: HostFinding['severity'], sentence: string, remedy: string): HostCheck => ({
    findings: [{ check, severity, sentence, remedy }],
    versions: {},
  });
  const looks: Readonly<Record<string, HostCheck>> = {
    'host-a': found('link', 'refuse', 'The link of chip 3 is DOWN. It must be UP.', 'Look at the port of the switch.'),
    'host-b': found('clock', 'warn', 'The clock may be 3000 ms off.', 'Run chronyd.'),
  };
  return { checkHost: (host) => looks[host] ?? { findings: [], versions: {} } };
}

/** The reporting node hears no iteration any more, since the rank of the other one is stopped. */
export function gangHangs(): Behaviour {
  return {
    probeTrainer: (host) =>
      Promise.resolve({
        trainer: 'running',
        ranks: [
          host === 'host-a'
            ? { rank: 0, pid: 1, state: 'stopped', stacks: 'none: it is stopped' }
            : { rank: 1, pid: 2, state: 'sleeping', stacks: 'faulthandler' },
        ],
      }),
    trainRank: async (input, host, fake) => {
      if (input.nodeRank === 0) fake.save(input, input.generation === 1 ? 10 : 30);
      if (input.generation > 1) return { iteration: 30 };
      if (input.nodeRank === 0) return trainOn(input, host, 10);
      await committed(fake, input);
      const details = [{ iteration: 17, at: Date.now() - 3_000 }];
      throw ApplicationFailure.create({ message: 'No progress.', type: 'Hung', nonRetryable: true, details });
    },
  };
}

/** Asks all hosts of a gang for a sign of life, so that a lost host is told from a dead process, and both from a control plane that is away. */
import { CancellationScope, CancelledFailure, isCancellation, sleep } from '@temporalio/workflow';
import type { LastWords, TrainerLook } from '../contract/activities.js';
import { judgeProbe, type ProbeTurn } from '../plan/probe.js';
import type { NodeFailure } from '../plan/verdict.js';
import { askingPool, control, onIo } from './activities.js';
import { failureFacts } from './failure.js';
import { hostOf, type Generation } from './gang.js';
import { PROBE, PROBE_STACKS } from './options.js';

export interface Probed {
  /** By node rank: why its host is given up. */
  readonly lost: ReadonlyMap<number, NodeFailure>;
  /** By node rank; undefined of a host that did not answer. */
  readonly looks: readonly (TrainerLook | undefined)[];
}

const NO_ANSWER: readonly string[] = ['NotPickedUp', 'TimedOut', 'Silent'];
const NOBODY: Probed['lost'] = new Map();

/** No answer of an activity itself: the host did not take it up, or took it up and froze. */
export function isNoAnswer(error: unknown): boolean {
  return NO_ANSWER.includes(failureFacts(error).type);
}

export class Probe {
  private readonly gang: Generation;
  private readonly scope: CancellationScope;
  private asking: Promise<Probed> | undefined;
  /** The last answer; of a rank that has failed by it nobody asks again. */
  last: Probed | undefined;

  constructor(gang: Generation, scope = CancellationScope.current()) {
    this.gang = gang;
    this.scope = scope;
  }

  /** By the last answer. */
  get lost(): Probed['lost'] {
    return this.last?.lost ?? NOBODY;
  }

  /** Asks, and ends whoever asks as if it were cancelled when a host is lost: `lost` says which. */
  async throwIfLost(): Promise<void> {
    if ((await this.ask()).lost.size > 0) throw new CancelledFailure('A host of the gang is lost.');
  }

  /** Ranks that ask at the same time share one answer; a gang that was cancelled meanwhile is cancelled. */
  async ask(): Promise<Probed> {
    this.asking ??= this.scope
      .run(() => this.untilKnown(false))
      .finally(() => {
        this.asking = undefined;
      });
    return this.asking;
  }

  /** Of a gang that hangs: every host writes where its ranks stand into the run's log. */
  async askWithStacks(): Promise<Probed> {
    return this.scope.run(() => this.untilKnown(true));
  }

  private async untilKnown(stacks: boolean): Promise<Probed> {
    const { view } = this.gang;
    const turns: ProbeTurn[] = [];
    // Bounded by the verdict.
    for (;;) {
      const looks = await Promise.all(this.gang.leases.map((_, nodeRank) => this.look(nodeRank, stacks)));
      const answered = looks.map((look) => look !== undefined);
      turns.push({ answered, othersLive: !answered.includes(true) && (await this.othersLive()) });
      const verdict = judgeProbe(turns);
      if (verdict.kind !== 'ask again') {
        if (turns.length > 1) view.show({ note: '' });
        const lost =
          verdict.kind === 'known'
            ? await this.failures('HostLost', verdict.lost)
            : await this.failures('AllSilent', [...this.gang.leases.keys()]);
        this.last = { looks, lost };
        return this.last;
      }
      view.show({ note: 'no host of the gang answers: a fault between them and Temporal, which is waited out' });
      view.tell();
      await sleep(verdict.pauseSeconds * 1000);
    }
  }

  private async look(nodeRank: number, stacks: boolean): Promise<TrainerLook | undefined> {
    const { input, generation } = this.gang;
    const { runId, cluster } = input;
    try {
      const io = onIo(
        cluster,
        hostOf(this.gang, nodeRank),
        `probe g${String(generation)}`,
        stacks ? PROBE_STACKS : PROBE,
      );
      return await io.probeTrainer({ runId, generation, nodeRank, stacks });
    } catch (error) {
      if (isCancellation(error) && CancellationScope.current().consideredCancelled) throw error;
      if (isNoAnswer(error)) return undefined;
      return { trainer: 'absent', ranks: [] };
    }
  }

  private async othersLive(): Promise<boolean> {
    const { cluster, opening } = this.gang.input;
    const except = this.gang.leases.map(({ host }) => host.name);
    try {
      const { pickHost } = askingPool(cluster, 'is any other host heard?');
      return (await pickHost({ cluster, runtime: opening.runtime, except })) !== null;
    } catch (error) {
      if (failureFacts(error).type !== 'NoHost') throw error;
      return false;
    }
  }

  /** With how far it had come and when it was last heard, which only the server still knows. */
  private async failures(type: 'HostLost' | 'AllSilent', nodeRanks: readonly number[]): Promise<Probed['lost']> {
    if (nodeRanks.length === 0) return new Map();
    const { input, generation } = this.gang;
    const hosts = nodeRanks.map((nodeRank) => hostOf(this.gang, nodeRank));
    const words = await control(input.cluster, 'what lost hosts last said').lastWords({
      runId: input.runId,
      generation,
      hosts,
    });
    return new Map(nodeRanks.map((nodeRank) => [nodeRank, this.failureOf(type, nodeRank, words)]));
  }

  private failureOf(type: 'HostLost' | 'AllSilent', nodeRank: number, words: readonly LastWords[]): NodeFailure {
    const host = hostOf(this.gang, nodeRank);
    const heard = words.find((one) => one.host === host);
    const message =
      type === 'HostLost'
        ? `Host ${host} did not answer within ${PROBE.scheduleToCloseTimeout} when the gang asked for a sign of life.`
        : 'No host of the gang answered for ten minutes: look at the network between the hosts and Temporal.';
    return {
      ...{ host, nodeRank, type, message },
      ...(heard === undefined ? {} : { iteration: heard.iteration, since: heard.at }),
    };
  }
}

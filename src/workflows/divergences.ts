/** What a run has met of losses that are no numbers, from the first one until a commit has got past it. */
import type { TrainGangInput } from '../contract/messages.js';
import {
  judgeCommit,
  judgeDivergence,
  suspectsOf,
  type Divergence,
  type DivergenceVerdict,
} from '../plan/divergence.js';
import type { RunLog } from '../plan/run-log.js';
import type { NodeFailure } from '../plan/verdict.js';
import { withBlame } from '../contract/gang-story.js';
import type { GangView } from './gang-view.js';
import { blameHost } from './lease.js';

export class Divergences {
  private readonly cluster: TrainGangInput['cluster'];
  private readonly view: GangView;
  private open: Divergence | undefined;

  constructor({ cluster }: TrainGangInput, view: GangView) {
    this.cluster = cluster;
    this.view = view;
  }

  /** While it is open, nothing is gone on from that was not looked through. */
  get isOpen(): boolean {
    return this.open !== undefined;
  }

  get suspects(): readonly string[] {
    return this.open === undefined ? [] : suspectsOf(this.open);
  }

  /** Undefined for a failure of another kind. `log` is that of the generation that has failed. */
  judge(
    root: NodeFailure,
    { generation, hosts, commits }: RunLog,
    reachedIteration: number,
  ): DivergenceVerdict | undefined {
    if (root.type !== 'LossDiverged') return undefined;
    // Megatron's own check names no iteration: it was the one after the last that was heard, on the rank that says so.
    const unheard = { iteration: reachedIteration + 1, loss: 'nan', nodes: [root.nodeRank] };
    const now = { generation, hosts, facts: root.notFinite ?? unheard };
    const verdict = judgeDivergence(now, this.open, commits);
    this.open = now;
    return verdict;
  }

  /** Looks at a commit of these hosts. */
  async committed(iteration: number, hosts: readonly string[]): Promise<void> {
    const { open } = this;
    const found = open === undefined ? undefined : judgeCommit(open, { iteration, hosts });
    if (open === undefined || found === undefined) return;
    this.open = undefined;
    if (found.blame === null) return;
    await blameHost(this.cluster, found.blame);
    this.view.show(withBlame(this.view.state, open.generation, found.blame));
  }
}

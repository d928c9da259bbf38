/** What a gang tells of itself: to a query, to the run's page, and to a watcher. Our own words and numbers, and a trainer's last sentence. */

/** How the training went when the node that knows iteration and loss was last heard. */
export interface TrainingPace {
  /** Epoch milliseconds by the workflow's clock. */
  readonly at: number;
  readonly iteration: number;
  readonly loss?: number;
  readonly secondsPerIteration?: number;
}

/** What broke a generation, what the engine did about it, and what it cost. */
export interface Incident {
  /** When the gang was found broken, epoch milliseconds by the workflow's clock. */
  readonly at: number;
  readonly generation: number;
  readonly host: string;
  readonly failure: string;
  /** From a trainer's log or a command's output: foreign text. */
  readonly message: string;
  readonly decision: string;
  readonly iterationsLost: number;
  /** The folder in the store with what the hosts knew of it; left out when there is none. */
  readonly evidence?: string;
  /**
   * From the moment at which the cause was there, by the clock of the host that knows it (a trainer's end, its last progress, its last
   * heartbeat), to `at`; left out when nobody can tell.
   */
  readonly secondsToDetect?: number;
  /** From `at` to the decision: what is left of the gang has ended by then, and what was saved whole is committed. */
  readonly secondsToDecide?: number;
  /** What the next generation's hosts had themselves of what it began from, and what they downloaded; left out until it has begun. */
  readonly restored?: { readonly localBytes: number; readonly downloadedBytes: number };
  /** From `at` to the first iteration that no generation had reached before; left out while nobody knows. */
  readonly secondsToNewIteration?: number;
}

/** Somebody went on with what somebody else had begun. Nothing is lost by it, and no budget counts it. */
export interface Handover {
  /** When the work was given on, epoch milliseconds by the workflow's clock. */
  readonly at: number;
  readonly generation: number;
  /** A host, or the control worker. */
  readonly who: string;
  /** Half a sentence of ours, such as "its agent restarted". */
  readonly what: string;
  /** Whether the successor was heard; until then the work is only asked for again. */
  readonly isHeard: boolean;
}

/** Answer to the query `gang` of `trainGang`. */
export interface GangState {
  readonly generation: number;
  readonly hosts: readonly string[];
  readonly committedIteration: number;
  readonly iterations: number;
  readonly phase: 'waiting for hosts' | 'staging in' | 'training' | 'stopping' | 'paused' | 'done';
  /** Why it waits; empty when it does not. */
  readonly note: string;
  /** Of the hosts of the present generation: what may matter, and does not keep it from training. */
  readonly warnings: readonly string[];
  /** Null until the present generation has been heard. */
  readonly pace: TrainingPace | null;
  /** The last `KEPT` of each, oldest first. */
  readonly incidents: readonly Incident[];
  readonly handovers: readonly Handover[];
}

/** What a page can show and a signal may carry; who needs all of a long run's incidents has its log and its history. */
export const KEPT = 20;

/** What has changed since the run's own workflow was last told. Both numbers are always there, so that old news is known as such. */
export type GangNews = Pick<GangState, 'generation' | 'committedIteration'> & Partial<GangState>;

/** What the nodes' heartbeats said when a save was found: it reaches the workflow with the save, and so costs no event. */
export interface GangWords {
  readonly iteration: number;
  readonly loss?: number;
  readonly secondsPerIteration?: number;
  /** Epoch milliseconds on the reporting host. */
  readonly newIterationAt?: number;
  /** Hosts whose agents say that they adopted their trainer. */
  readonly adopted: readonly string[];
}

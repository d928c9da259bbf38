/** How often to save: the interval that loses least, to saving and to work done again, by Young and by Daly. */

export interface SaveQuestion {
  /** How long training stands still for one save. */
  readonly saveSeconds: number;
  readonly iterationSeconds: number;
  /** Mean time between the failures of one host. */
  readonly hostMtbfSeconds: number;
  readonly hosts: number;
  /** From a failure to the first new iteration. */
  readonly restartSeconds: number;
}

export interface SaveInterval {
  /** Of the whole gang: any host that fails stops it. */
  readonly mtbfSeconds: number;
  readonly youngSeconds: number;
  readonly dalySeconds: number;
  /** Daly's, in whole iterations. */
  readonly iterations: number;
}

export function saveInterval(question: SaveQuestion): SaveInterval {
  const { saveSeconds, iterationSeconds, restartSeconds } = question;
  const mtbfSeconds = question.hostMtbfSeconds / question.hosts;
  const youngSeconds = Math.sqrt(2 * saveSeconds * mtbfSeconds);
  // Daly's is the work between two saves; where a save takes longer than that, there is nothing to choose.
  const dalySeconds = Math.max(saveSeconds, Math.sqrt(2 * saveSeconds * (mtbfSeconds + restartSeconds)) - saveSeconds);
  return {
    mtbfSeconds,
    youngSeconds,
    dalySeconds,
    iterations: Math.max(1, Math.round(dalySeconds / iterationSeconds)),
  };
}

/** The share of the time that goes to saves, to work done again and to restarts when saving every so often. */
export function lostShare(question: SaveQuestion, everySeconds: number): number {
  const mtbf = question.hostMtbfSeconds / question.hosts;
  return question.saveSeconds / everySeconds + everySeconds / (2 * mtbf) + question.restartSeconds / mtbf;
}

/** Promotions of a model, and which result becomes the next: an older one never replaces a newer one. */

/** What a data source held, and when it was asked. */
export interface DataState {
  readonly fingerprint: string;
  /** Epoch milliseconds by the workflow's clock: the server's, so the same one for all runs. */
  readonly at: number;
}

/** A set of files in the store, by the digest of its manifest. */
interface PublishedRef {
  readonly prefix: string;
  readonly manifestKey: string;
  readonly digest: string;
}

/** Body of a fact under `models/<name>/`; its number is the order of promotions. */
export interface PromotionFact {
  /** The run that made the model. */
  readonly runId: string;
  readonly published: PublishedRef;
  readonly weightsDigest: string;
  readonly accuracy: number;
  /** What the model was trained on. */
  readonly data: DataState;
  /** Of a retrain: the promotion that the gate compared with, 0 when there was none. */
  readonly base?: number;
  /** Of a choice by hand: the request that asked for it, why, and of a rollback the promotion that it brings back. */
  readonly chosen?: { readonly request: string; readonly why: string; readonly bringsBack?: number };
}
export interface Promotion extends PromotionFact {
  readonly number: number;
}

export type PromotionDecision =
  /** This run is promoted, or what it made is the current model already. */
  | { readonly decision: 'done'; readonly number: number }
  | { readonly decision: 'append' }
  | { readonly decision: 'superseded'; readonly by: number }
  /** Another model became current since the gate looked, so what the gate said is about the wrong one. */
  | { readonly decision: 'judge again'; readonly current: Promotion };

/** `promotions` are all there are, oldest first. A run that a person started replaces whatever is current. */
export function decidePromotion(candidate: PromotionFact, promotions: readonly Promotion[]): PromotionDecision {
  const mine = promotions.find(({ runId, chosen }) => runId === candidate.runId && chosen === undefined);
  if (mine !== undefined) return { decision: 'done', number: mine.number };
  const current = promotions.at(-1);
  if (current === undefined) return { decision: 'append' };
  if (current.published.digest === candidate.published.digest) return { decision: 'done', number: current.number };
  if (candidate.base === undefined) return { decision: 'append' };
  if (current.data.at >= candidate.data.at) return { decision: 'superseded', by: current.number };
  return current.number === candidate.base ? { decision: 'append' } : { decision: 'judge again', current };
}

/**
 * What a rollback brings back: promotion `to`, or for null the last one with another model that came before the current one. A
 * rollback counts as what it brought back, so that a second one goes further back and not forth again. A text says why it cannot.
 */
export function rollbackTarget(promotions: readonly Promotion[], to: number | null): Promotion | string {
  const current = promotions.at(-1);
  if (current === undefined) return 'has no promotion yet';
  const differs = ({ published }: Promotion): boolean => published.digest !== current.published.digest;
  if (to === null) {
    const before = promotions.findLast((one) => one.number < originOf(current) && differs(one));
    return before ?? 'had no other model before the current one';
  }
  const named = promotions.find(({ number }) => number === to);
  if (named === undefined) return `has no promotion ${String(to)}`;
  return differs(named) ? named : `has the model of promotion ${String(to)} as its current one already`;
}

/** The number under which this model was promoted by its own run. */
export function originOf({ number, chosen }: Promotion): number {
  return chosen?.bringsBack ?? number;
}

/** Why a result must not be promoted, a sentence; undefined when it passes. */
export function whyRejected({
  accuracy,
  minimumAccuracy,
  promoted,
}: {
  readonly accuracy: number;
  readonly minimumAccuracy: number;
  /** The current model, judged on the same held-out rows; left out where there is nothing to compare with. */
  readonly promoted?: { readonly number: number; readonly accuracy: number };
}): string | undefined {
  if (accuracy < minimumAccuracy)
    return `Its accuracy ${share(accuracy)} is below the minimum ${share(minimumAccuracy)} of the spec.`;
  if (promoted !== undefined && accuracy < promoted.accuracy)
    return `Its accuracy ${share(accuracy)} is below the ${share(promoted.accuracy)} of promotion ${String(promoted.number)} on the same held-out rows.`;
  return undefined;
}

const share = (accuracy: number): string => accuracy.toFixed(4);

/** Body of a fact under `retrains/<model>/`: a retrain that came to its end, promoted or not. */
export interface RetrainFact {
  readonly runId: string;
  /** Digest of the spec with where training starts from: another spec on the same data is another training. */
  readonly spec: string;
  readonly data: DataState;
  readonly outcome: 'promoted' | 'rejected' | 'superseded';
}

/**
 * The retrain that makes another one needless: the one with the newest data, if it had this spec and this content. One that was
 * rejected counts too, since the same would be rejected again; so does one whose model a person has rolled back.
 */
export function unchangedSince(
  retrains: readonly RetrainFact[],
  { spec, fingerprint }: { readonly spec: string; readonly fingerprint: string },
): RetrainFact | undefined {
  const newest = retrains.toSorted((a, b) => a.data.at - b.data.at).at(-1);
  return newest?.spec === spec && newest.data.fingerprint === fingerprint ? newest : undefined;
}

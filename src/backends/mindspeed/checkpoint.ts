/** Megatron's names in a save folder: the tracker and the iteration folders. */

export const TRACKER_FILE = 'latest_checkpointed_iteration.txt';
export const RELEASE_FOLDER = 'release';

export type Tracker =
  | { readonly kind: 'iteration'; readonly iteration: number }
  | { readonly kind: 'release' }
  | { readonly kind: 'invalid'; readonly text: string };

/** Reads a tracker. It is rewritten in place, so a crash can leave it empty or cut: then it is invalid, never a guess. */
export function parseTracker(text: string): Tracker {
  const trimmed = text.trim();
  if (trimmed === RELEASE_FOLDER) return { kind: 'release' };
  if (/^\d{1,15}$/.test(trimmed)) return { kind: 'iteration', iteration: Number(trimmed) };
  return { kind: 'invalid', text: trimmed.slice(0, 80) };
}

/** The tracker that makes a trainer go on from an iteration. */
export function trackerText(iteration: number): string {
  return String(iteration);
}

export function iterationFolder(iteration: number): string {
  return `iter_${String(iteration).padStart(7, '0')}`;
}

export function parseIterationFolder(name: string): number | undefined {
  const digits = /^iter_(\d{7,15})$/.exec(name)?.[1];
  if (digits === undefined) return undefined;
  const iteration = Number(digits);
  return iterationFolder(iteration) === name ? iteration : undefined;
}

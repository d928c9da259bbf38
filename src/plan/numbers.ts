/** Numbers as people read them. */

/** Seconds: `4.2 s`, `47 s`, `3 min 5 s`, `2 h 10 min`. */
export function duration(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 120) return `${String(whole)} s`;
  if (whole < 7200) return `${String(Math.floor(whole / 60))} min ${String(whole % 60)} s`;
  return `${String(Math.floor(whole / 3600))} h ${String(Math.round((whole % 3600) / 60))} min`;
}

/** A share of 1: `96.8 %`. */
export function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

/** Bytes as disks are sold: `312 B`, `4.2 MB`. */
export function bytes(count: number): string {
  if (count < 1000) return `${String(count)} B`;
  const [unit, size] = (
    [
      ['kB', 1e3],
      ['MB', 1e6],
      ['GB', 1e9],
      ['TB', 1e12],
    ] as const
  ).findLast(([, one]) => count >= one) ?? ['kB', 1e3];
  return `${(count / size).toFixed(1)} ${unit}`;
}

/** What a restore has saved and what it has cost. */
export function restoredFrom(restored: { readonly localBytes: number; readonly downloadedBytes: number }): string {
  return `restored ${bytes(restored.localBytes)} from the hosts' own copies and ${bytes(restored.downloadedBytes)} from the store`;
}

/** A moment in epoch milliseconds, in UTC: `2026-11-25 18:38:49`. */
export function utcTime(epochMs: number): string {
  return new Date(epochMs).toISOString().slice(0, 19).replace('T', ' ');
}

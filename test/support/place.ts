/** A cluster as far as its own files and processes tell of it. */
export interface Place {
  /** All that it was started with, in the order of their names. */
  readonly hosts: readonly string[];
  /** The objects of the store as plain files by their keys. */
  readonly storeFolder: string;
  workRoot(host: string): string;
  /** The process that is kept under this name now: `temporal`, `worker`, a host, ... */
  pidOf(name: string): number;
}

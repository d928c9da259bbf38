/** What an agent's activities stand on. */
import type { Client } from '@temporalio/client';
import type { HostFacts } from '../../plan/hosts.js';
import type { ObjectStore } from '../../storage/object-store.js';

export interface HostDeps {
  readonly cluster: string;
  readonly facts: HostFacts;
  readonly store: ObjectStore;
  /** For heartbeats that are answered: only an answer renews a trainer's lease. */
  readonly client: Client;
  /** The host's own folder; no other agent reads or writes it. */
  readonly workRoot: string;
  /** Where the runtime's programs lie: python, torchrun, mm-convert. */
  readonly runtimeBin: string;
  /** The folder with the trainer's entry scripts. */
  readonly trainerHome: string;
  /** The folder of our own tools, `anneal_trainer`; on the CPU runtime it is the trainer's as well. */
  readonly toolsHome: string;
  /** What child processes may inherit from the agent. */
  readonly environment: Readonly<Record<string, string>>;
  readonly leaseTtlSeconds: number;
  /** Between SIGTERM and SIGKILL for a trainer that is asked to stop: long enough to save. */
  readonly graceSeconds: number;
}

/** What the control worker's activities stand on. */
import type { Client } from '@temporalio/client';
import type { Timing } from '../../contract/activities.js';
import type { ObjectStore } from '../../storage/object-store.js';

export interface ControlDeps {
  readonly cluster: string;
  readonly namespace: string;
  readonly client: Client;
  readonly store: ObjectStore;
  readonly timing: Timing;
}

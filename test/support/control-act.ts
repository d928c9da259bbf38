/** One attempt of a control worker's activity over a real store, beside a server that only knows a cluster with hosts enough. */
import type { Client } from '@temporalio/client';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { createControlActivities } from '../../src/activities/control/index.js';
import type { ControlActivities } from '../../src/contract/activities.js';
import type { ObjectStore } from '../../src/storage/object-store.js';

export type ControlAct = {
  [Name in keyof ControlActivities]: {
    readonly activity: Name;
    readonly input: Parameters<ControlActivities[Name]>[0];
  };
}[keyof ControlActivities];

const host = (name: string) => ({
  facts: { name, npus: 8, runtime: 'cpu' },
  ...{ live: true, fence: 1, owner: null, vacating: null, cordon: null, faults: [] },
});

const client = {
  connection: { withDeadline: () => Promise.reject(new Error('14 UNAVAILABLE')) },
  workflow: {
    start: () => Promise.resolve(undefined),
    getHandle: () => ({ query: () => Promise.resolve({ hosts: ['a', 'b'].map(host), waiting: [], joinedAt: 0 }) }),
  },
  withDeadline: (_: number, call: () => Promise<unknown>) => call(),
} as unknown as Client;

export function controlActivities(store: ObjectStore): ControlActivities {
  const timing = { heartbeatSeconds: 1, attachSeconds: 1 };
  return createControlActivities({ cluster: 'c', namespace: 'default', client, store, timing });
}

/** What it came to: its result, or the type of its failure. */
export async function attempt(store: ObjectStore, { activity, input }: ControlAct): Promise<unknown> {
  const run = controlActivities(store)[activity] as (input: unknown) => Promise<unknown>;
  try {
    const environment = new MockActivityEnvironment({ attempt: 1 }, { logger: new DefaultLogger('ERROR') });
    return { result: (await environment.run(run, input)) ?? null };
  } catch (error) {
    return { failure: (error as { readonly type?: string }).type ?? String(error) };
  }
}

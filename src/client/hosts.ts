/** Hosts of a cluster as its pool knows them: look, and set one apart. */
import { type Client, WorkflowUpdateFailedError } from '@temporalio/client';
import { ApplicationFailure, WorkflowNotFoundError } from '@temporalio/common';
import { QUERIES, UPDATES, type CordonHost, type PoolState } from '../contract/messages.js';
import { poolWorkflowId } from '../contract/names.js';
import type { HostView } from '../plan/hosts.js';
import type { Waiting } from '../plan/queue.js';
import { HostNotFoundError, ServerUnreachableError } from './errors.js';
import { isNobodyToAsk } from './grpc.js';
import { type HostListing, withTrainers } from './trainers.js';

/** The pool answers at once when a control worker is there; longer means that none is. */
const LIMIT_MS = 5_000;

export class Hosts {
  readonly #client: Client;
  readonly #cluster: string;

  constructor(client: Client, cluster: string) {
    this.#client = client;
    this.#cluster = cluster;
  }

  /** By name, each with the trainer that runs on it. */
  async list(): Promise<readonly HostListing[]> {
    return withTrainers(this.#client, (await this.#state()).hosts);
  }

  /** Who waits for hosts and why, the next one first. */
  async queue(): Promise<readonly Waiting[]> {
    return (await this.#state()).waiting;
  }

  /** Throws HostNotFoundError. */
  async get(name: string): Promise<HostListing> {
    const hosts = await this.list();
    const host = hosts.find(({ facts }) => facts.name === name);
    if (host !== undefined) return host;
    throw new HostNotFoundError(`No host "${name}" has registered with cluster "${this.#cluster}".`);
  }

  /** It is granted to nobody until `uncordon`; who holds it keeps it. Throws HostNotFoundError. */
  cordon(host: string, reason: string): Promise<HostView> {
    const wanted: CordonHost = { host, reason };
    return this.#update(UPDATES.cordonHost, wanted);
  }

  /**
   * As `cordon`, and who holds the host saves, gives all its hosts back and goes on with others from there, as soon as there are some.
   * Throws HostNotFoundError.
   */
  drain(host: string, reason: string): Promise<HostView> {
    const wanted: CordonHost = { host, reason };
    return this.#update(UPDATES.drainHost, wanted);
  }

  /** Ends a cordon or a quarantine and forgets the host's faults. Throws HostNotFoundError. */
  uncordon(host: string): Promise<HostView> {
    return this.#update(UPDATES.uncordonHost, host);
  }

  async #state(): Promise<PoolState> {
    try {
      return await this.#ask((pool) => pool.query<PoolState>(QUERIES.pool));
    } catch (error) {
      // No agent has ever registered: there is no pool yet, and so no hosts.
      if (error instanceof WorkflowNotFoundError) return { hosts: [], waiting: [], joinedAt: 0 };
      throw error;
    }
  }

  async #update(name: string, argument: CordonHost | string): Promise<HostView> {
    try {
      return await this.#ask((pool) => pool.executeUpdate<HostView, [typeof argument]>(name, { args: [argument] }));
    } catch (error) {
      const cause = error instanceof WorkflowUpdateFailedError ? error.cause : undefined;
      if (cause instanceof ApplicationFailure && cause.type === 'HostUnknown')
        throw new HostNotFoundError(cause.message, { cause: error });
      if (error instanceof WorkflowNotFoundError)
        throw new HostNotFoundError(`Cluster "${this.#cluster}" has no hosts: no agent has ever registered.`);
      throw error;
    }
  }

  async #ask<T>(ask: (pool: ReturnType<Client['workflow']['getHandle']>) => Promise<T>): Promise<T> {
    const pool = this.#client.workflow.getHandle(poolWorkflowId(this.#cluster));
    try {
      return await this.#client.withDeadline(Date.now() + LIMIT_MS, () => ask(pool));
    } catch (error) {
      if (!isNobodyToAsk(error)) throw error;
      throw new ServerUnreachableError(
        `Temporal is there, but no control worker of cluster "${this.#cluster}" answers. Start one with "anneal worker", or wait for "anneal dev".`,
        { cause: error },
      );
    }
  }
}

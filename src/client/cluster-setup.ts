/** What a Temporal server must know before the first run: the namespace with its retention, and our search attributes. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Connection } from '@temporalio/client';
import { SEARCH_ATTRIBUTES, type SearchAttributeName } from '../contract/names.js';
import { ClusterRefusedError } from './errors.js';
import { isNotFound } from './grpc.js';

export interface ClusterSetupOptions {
  /** How long Temporal keeps runs that have ended. Left out, a namespace that is there keeps what it has. */
  readonly retentionDays?: number;
}

export interface ClusterSetup {
  readonly namespace: string;
  readonly namespaceWas: 'created' | 'there';
  readonly retentionDays: number;
  /** What it was before this call, if that changed it. */
  readonly retentionDaysBefore?: number;
  readonly searchAttributes: readonly {
    readonly name: SearchAttributeName;
    readonly type: AttributeType;
    readonly was: 'added' | 'there';
  }[];
}

type AttributeType = (typeof SEARCH_ATTRIBUTES)[SearchAttributeName];

/** `temporal.api.enums.v1.IndexedValueType`: the numbers are the protocol's and never change. */
const TYPE_NUMBERS = { Text: 1, Keyword: 2, Int: 3, Double: 4, Bool: 5, Datetime: 6, KeywordList: 7 } as const;

/** Of a namespace that we create: a month in which a run can be looked at. */
const DEFAULT_RETENTION_DAYS = 30;
const DAY_SECONDS = 86_400;

/** A server's parts learn of a new namespace within ten seconds each, and of its attributes as slowly. */
const SPREAD_LIMIT_MS = 60_000;
const ASK_MS = 500;
const CALL_LIMIT_MS = 10_000;

/** May be called again at any time: what is there stays. Throws ClusterRefusedError before it changes anything. */
export async function setUpCluster(
  connection: Connection,
  namespace: string,
  options: ClusterSetupOptions = {},
): Promise<ClusterSetup> {
  const before = await describe(connection, namespace);
  if (before !== undefined) refuseOtherTypes(namespace, await typesOf(connection, namespace));
  const retention = await setUpNamespace(connection, namespace, before, options);
  const was = await addAttributes(connection, namespace);
  const searchAttributes = Object.entries(SEARCH_ATTRIBUTES).map(([name, type]) => ({
    name: name as SearchAttributeName,
    type,
    was: was.has(name) ? ('there' as const) : ('added' as const),
  }));
  return { namespace, namespaceWas: before === undefined ? 'created' : 'there', ...retention, searchAttributes };
}

/** The retention in days; undefined when there is no such namespace. */
async function describe(connection: Connection, namespace: string): Promise<number | undefined> {
  try {
    const { config } = await limited(connection, () => connection.workflowService.describeNamespace({ namespace }));
    return Number(config?.workflowExecutionRetentionTtl?.seconds ?? 0) / DAY_SECONDS;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

async function setUpNamespace(
  connection: Connection,
  namespace: string,
  before: number | undefined,
  { retentionDays }: ClusterSetupOptions,
): Promise<Pick<ClusterSetup, 'retentionDays' | 'retentionDaysBefore'>> {
  const { workflowService } = connection;
  const wanted = retentionDays ?? before ?? DEFAULT_RETENTION_DAYS;
  const ttl = { seconds: wanted * DAY_SECONDS } as never;
  if (before === undefined) {
    await limited(connection, () =>
      workflowService.registerNamespace({ namespace, workflowExecutionRetentionPeriod: ttl }),
    );
    return { retentionDays: wanted };
  }
  if (wanted === before) return { retentionDays: before };
  await limited(connection, () =>
    workflowService.updateNamespace({ namespace, config: { workflowExecutionRetentionTtl: ttl } }),
  );
  return { retentionDays: wanted, retentionDaysBefore: before };
}

/** Adds those that are missing and waits until the server knows them all. Returns the names that were there. */
async function addAttributes(connection: Connection, namespace: string): Promise<ReadonlySet<string>> {
  const there = await eventually(`namespace ${namespace}`, () => typesOf(connection, namespace));
  refuseOtherTypes(namespace, there);
  const missing = Object.entries(SEARCH_ATTRIBUTES).filter(([name]) => !(name in there));
  if (missing.length > 0) {
    const searchAttributes = Object.fromEntries(missing.map(([name, type]) => [name, TYPE_NUMBERS[type]]));
    await eventually(`namespace ${namespace}`, () =>
      limited(connection, () => connection.operatorService.addSearchAttributes({ namespace, searchAttributes })),
    );
    await eventually('the search attributes', async () => {
      const now = await typesOf(connection, namespace);
      return missing.every(([name]) => name in now) ? now : undefined;
    });
  }
  return new Set(Object.keys(there));
}

async function typesOf(connection: Connection, namespace: string): Promise<Readonly<Record<string, number>>> {
  const { customAttributes } = await limited(connection, () =>
    connection.operatorService.listSearchAttributes({ namespace }),
  );
  return customAttributes;
}

function refuseOtherTypes(namespace: string, there: Readonly<Record<string, number>>): void {
  const wrong = Object.entries(SEARCH_ATTRIBUTES).flatMap(([name, type]) => {
    const found = there[name];
    return found === undefined || found === TYPE_NUMBERS[type] ? [] : [{ name, type, found: typeName(found) }];
  });
  if (wrong.length === 0) return;
  const lines = wrong.map(({ name, type, found }) => `  ${name} is ${found}, and Anneal needs ${type}`);
  throw new ClusterRefusedError(
    `Namespace "${namespace}" has search attributes of our names with other types; nothing was changed:\n${lines.join('\n')}\n` +
      `Use another namespace, or, if nothing needs them, remove them: temporal operator search-attribute remove --namespace ${namespace} --name ${wrong[0]?.name ?? ''}`,
  );
}

function typeName(number: number): string {
  return Object.entries(TYPE_NUMBERS).find(([, its]) => its === number)?.[0] ?? `type ${String(number)}`;
}

/** Repeats what a part of the server does not know yet. */
async function eventually<T>(what: string, ask: () => Promise<T | undefined>): Promise<T> {
  const deadline = Date.now() + SPREAD_LIMIT_MS;
  for (;;) {
    try {
      const answer = await ask();
      if (answer !== undefined) return answer;
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
    if (Date.now() > deadline)
      throw new ClusterRefusedError(
        `The server does not know ${what} ${String(SPREAD_LIMIT_MS / 1000)} s after it was told. Run the command again later; what is there stays.`,
      );
    await pause(ASK_MS);
  }
}

function limited<T>(connection: Connection, call: () => Promise<T>): Promise<T> {
  return connection.withDeadline(Date.now() + CALL_LIMIT_MS, call);
}

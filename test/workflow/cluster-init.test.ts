/** `anneal cluster init` against real servers that know nothing of us. */
import { Connection } from '@temporalio/client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { init } from '../../src/cli/commands/cluster.js';
import { Anneal, ClusterRefusedError } from '../../src/client/index.js';
import { SEARCH_ATTRIBUTES } from '../../src/contract/names.js';
import { startTemporal, type TestServer } from '../support/temporal.js';

/** One of ours, and under the name of another one something else. */
const OTHER = { AnnealRun: 'Keyword', AnnealHosts: 'Text' };
const OURS = Object.keys(SEARCH_ATTRIBUTES);

let bare: TestServer;
let taken: TestServer;

beforeAll(async () => {
  [bare, taken] = await Promise.all([startTemporal({}), startTemporal(OTHER)]);
});
afterAll(() => Promise.all([bare.stop(), taken.stop()]));

async function setUp(server: TestServer, namespace: string, options: { readonly retentionDays?: number } = {}) {
  const anneal = await Anneal.connect({ address: server.address, namespace });
  try {
    return await anneal.setUp(options);
  } finally {
    await anneal.close();
  }
}

async function attributesOf(server: TestServer, namespace: string): Promise<Readonly<Record<string, number>>> {
  const connection = await Connection.connect({ address: server.address });
  try {
    return (await connection.operatorService.listSearchAttributes({ namespace })).customAttributes;
  } finally {
    await connection.close();
  }
}

test('makes a namespace with its retention and all attributes, and finds them there the second time', async () => {
  const first = await setUp(bare, 'lab', { retentionDays: 7 });
  expect(first).toMatchObject({ namespace: 'lab', namespaceWas: 'created', retentionDays: 7 });
  expect(first.searchAttributes.map(({ name, was }) => `${name} ${was}`)).toEqual(OURS.map((name) => `${name} added`));
  expect(Object.keys(await attributesOf(bare, 'lab'))).toEqual(expect.arrayContaining(OURS));

  const second = await setUp(bare, 'lab');
  expect(second).toMatchObject({ namespaceWas: 'there', retentionDays: 7 });
  expect(second).not.toHaveProperty('retentionDaysBefore');
  expect(second.searchAttributes.every(({ was }) => was === 'there')).toBe(true);
});

test('changes the retention of a namespace that is there only when it is asked to', async () => {
  const { retentionDays } = await setUp(bare, 'default');
  const longer = await setUp(bare, 'default', { retentionDays: retentionDays + 4 });
  expect(longer).toMatchObject({ retentionDays: retentionDays + 4, retentionDaysBefore: retentionDays });
  expect(await setUp(bare, 'default')).toMatchObject({ retentionDays: retentionDays + 4 });
});

test('refuses an attribute of our name with another type, says which, and adds nothing', async () => {
  const refused: unknown = await setUp(taken, 'default').catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(ClusterRefusedError);
  expect((refused as Error).message).toContain('AnnealHosts is Text, and Anneal needs KeywordList');
  expect((refused as Error).message).toContain('search-attribute remove --namespace default --name AnnealHosts');
  expect(
    Object.keys(await attributesOf(taken, 'default'))
      .filter((name) => OURS.includes(name))
      .sort(),
  ).toEqual(['AnnealHosts', 'AnnealRun']);
});

test('the command ends with 0', async () => {
  expect(await init({ address: bare.address, namespace: 'command' })).toBe(0);
});

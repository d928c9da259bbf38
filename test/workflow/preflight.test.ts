/** A gang looks at its hosts before it is launched: who is unfit is left out with the reason, and what all say cordons nobody. */
import { expect, test } from 'vitest';
import { QUERIES, type GangState, type PoolState } from '../../src/contract/messages.js';
import { poolWorkflowId, trainWorkflowId } from '../../src/contract/names.js';
import { hostStatus } from '../../src/plan/hosts.js';
import type { HostCheck } from '../../src/plan/preflight.js';
import { hostIsUnfit } from '../histories/detection.js';
import type { FakeCluster } from '../support/fake-cluster.js';
import { freshClusters } from '../support/fresh-clusters.js';

const start = freshClusters('preflight');

const unfit: HostCheck = {
  findings: [{ check: 'python', severity: 'refuse', sentence: 'There is no torch.', remedy: 'Install it.' }],
  versions: {},
};
const warned: HostCheck = {
  findings: [{ check: 'clock', severity: 'warn', sentence: 'The clock is off.', remedy: 'Set it.' }],
  versions: {},
};

async function gangOf(fake: FakeCluster): Promise<GangState> {
  return fake.client.workflow.getHandle(trainWorkflowId(fake.name)).query<GangState>(QUERIES.gang);
}

async function states(fake: FakeCluster): Promise<readonly string[]> {
  const { hosts } = await fake.client.workflow.getHandle(poolWorkflowId(fake.name)).query<PoolState>(QUERIES.pool);
  return hosts.map((host) => `${host.facts.name} ${host.cordon === null ? 'not set apart' : hostStatus(host)}`);
}

const launched = (fake: FakeCluster): readonly string[] => fake.acts.filter((act) => act.startsWith('train ')).sort();

test('an unfit host is set apart with the finding, nothing is launched on it, and the run goes on elsewhere', async () => {
  const fake = await start(hostIsUnfit());
  await fake.run(fake.name);
  expect(launched(fake)).toEqual(['train g2 node 0 host-c', 'train g2 node 1 host-b']);
  const gang = await gangOf(fake);
  expect(gang.incidents).toMatchObject([
    {
      ...{ generation: 1, host: 'host-a', failure: 'HostUnfit', iterationsLost: 0 },
      message: 'The link of chip 3 is DOWN. It must be UP. Look at the port of the switch.',
    },
  ]);
  expect(gang.warnings).toEqual(['host-b: The clock may be 3000 ms off.']);
  // Vacating, quarantined: whatever it is at this moment, it is set apart.
  expect(await states(fake)).toEqual([
    expect.stringMatching(/^host-a (vacating|quarantined)$/),
    'host-b not set apart',
    'host-c not set apart',
  ]);
});

test('what all hosts of a gang say cordons nobody: others are tried, and the end says what it was', async () => {
  const fake = await start({ checkHost: () => unfit });
  await expect(fake.run(fake.name)).rejects.toMatchObject({
    cause: { type: 'BudgetExhausted', message: expect.stringContaining('There is no torch. Install it.') as string },
  });
  expect(launched(fake)).toEqual([]);
  const gang = await gangOf(fake);
  expect(gang.incidents.map(({ generation, failure }) => `g${String(generation)} ${failure}`)).toEqual([
    ...['g1 GangUnfit', 'g2 GangUnfit', 'g3 GangUnfit'],
  ]);
  expect(await states(fake)).toEqual(['host-a not set apart', 'host-b not set apart', 'host-c not set apart']);
  // The second time the one that had not been asked yet is in the gang.
  expect(fake.acts).toContain('check host-c');
});

test('warnings keep nobody from training, and are on the page for as long as it does', async () => {
  const fake = await start({ checkHost: (host) => (host === 'host-a' ? warned : { findings: [], versions: {} }) });
  await fake.run(fake.name);
  expect(launched(fake)).toEqual(['train g1 node 0 host-a', 'train g1 node 1 host-b']);
  const { warnings, incidents } = await gangOf(fake);
  expect(warnings).toEqual(['host-a: The clock is off.']);
  expect(incidents).toEqual([]);
});

/** The chain on an S3 store: the same bits as on a folder, the S3 server killed on the way, and every command reads it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { FineTuneResult, RunEvent } from '../../src/client/index.js';
import { readFacts } from '../../src/storage/facts.js';
import { DevCluster } from '../support/dev-cluster.js';
import { smallSpec, writeDigits } from '../support/small-run.js';
import { until, within } from '../support/until.js';
import { noGateway } from '../support/versitygw.js';

const LIMIT_MS = 240_000;
const ITERATIONS = 40;

describe.skipIf(noGateway())('on an S3 store', () => {
  let onFolder: FineTuneResult;
  let cluster: DevCluster;
  let data: string;

  beforeAll(async () => {
    const plain = await DevCluster.start({ agents: 2 });
    try {
      const folder = join(plain.root, 'data');
      await writeDigits(folder);
      const run = await plain.anneal.runs.start(smallSpec({ data: folder, iterations: ITERATIONS }));
      onFolder = await within('the run on a folder ends', LIMIT_MS, run.result());
    } finally {
      await plain.stop();
    }
    cluster = await DevCluster.start({ agents: 2, store: 's3' });
    data = join(cluster.root, 'data');
    await writeDigits(data);
  });

  afterAll(async () => {
    expect(await cluster.stop()).toEqual([]);
  });

  test('a run ends in the bits of a run on a folder, though the S3 server is killed in the middle of its training', async () => {
    const run = await cluster.anneal.runs.start(smallSpec({ data, iterations: ITERATIONS }), { key: 'killed' });
    const store = await cluster.openStore();
    await until('a first checkpoint is committed', LIMIT_MS, async () => {
      const facts = await readFacts(store, `runs/${run.runId}/log`);
      return facts.find(({ body }) => (body as { readonly fact: string }).fact === 'commit');
    });
    const killed = cluster.pidOf('s3');
    process.kill(killed, 'SIGKILL');
    const events: RunEvent[] = [];
    for await (const event of run.watch({ pollMs: 200, signal: AbortSignal.timeout(LIMIT_MS) })) events.push(event);

    expect(cluster.said).toContain('s3 was ended by SIGKILL; it is started again');
    expect(cluster.pidOf('s3')).not.toBe(killed);
    const { weightsDigest, promotion } = await run.result();
    expect(weightsDigest).toBe(onFolder.weightsDigest);
    expect(promotion).toBe(1);
    expect(events.filter(({ type }) => type === 'incident')).toEqual([]);
  });

  test('the next run finds all of it there, and plan, logs and report read the store', async () => {
    const run = await cluster.anneal.runs.start(smallSpec({ data, iterations: ITERATIONS }), { key: 'again' });
    const { stages, weightsDigest } = await within('the second run ends', LIMIT_MS, run.result());
    expect(stages.map(({ status }) => status)).toEqual(stages.map(() => 'reused'));
    expect(weightsDigest).toBe(onFolder.weightsDigest);

    const logs = await cluster.cli('logs', 'killed', '--stage', 'train', '--node', '1');
    expect(logs.stdout).toContain('iteration');
    const report = await cluster.cli('report', 'killed');
    expect(report.stdout).toContain('s3://anneal/runs/killed/logs/');
    const named = await cluster.cli('logs', 'killed', '--store', cluster.state.store, '--json');
    expect(JSON.parse(named.stdout)).not.toEqual([]);
  });

  test('no secret of the store is in a settings file, in the state, in a log or in what the run has kept', async () => {
    const credentials = readFileSync(join(cluster.stateDir, 's3', 'credentials'), 'utf8');
    const secret = /aws_secret_access_key = (\S+)/.exec(credentials)?.[1] ?? '';
    expect(secret.length).toBeGreaterThan(20);
    const files = [
      'dev.json',
      'worker.yaml',
      'hosts/host-a/agent.yaml',
      'logs/s3.log',
      'logs/worker.log',
      'logs/host-a.log',
    ];
    for (const file of files) expect(readFileSync(join(cluster.stateDir, file), 'utf8')).not.toContain(secret);
    const store = await cluster.openStore();
    for (const key of ['runs/killed/spec.json', 'runs/killed/plan.json'])
      expect((await store.read(key))?.toString()).not.toContain(secret);
    expect(readFileSync(join(cluster.stateDir, 'temporal.db')).includes(secret)).toBe(false);
  });
});

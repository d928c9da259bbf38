/**
 * `npm run bench:pool`: a pool of hundreds of hosts on a real server, asked by a hundred workflows at once, first while all hosts are
 * free, then for more than there are. Hosts have a queue and a worker each, and prove themselves empty at once.
 */
import { spawn } from 'node:child_process';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Client, Connection, WithStartWorkflowOperation } from '@temporalio/client';
import { bundleWorkflowCode, DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { createHosts } from '../../dist/activities/control/hosts.js';
import { controlQueue, ioQueue, poolWorkflowId } from '../../dist/contract/names.js';
import { hostStatus } from '../../dist/plan/hosts.js';
import { findFreePort } from '../../dist/process/free-port.js';
import { root } from '../../scripts/lib/files.mjs';
import { fail, say, UserError } from '../../scripts/lib/say.mjs';

/** @import { PoolState } from '../../dist/contract/messages.js' */
/** @import { HostFacts } from '../../dist/plan/hosts.js' */

const { values: flags } = parseArgs({
  options: { hosts: { type: 'string', default: '500' }, requests: { type: 'string', default: '100' } },
});
const [HOSTS, REQUESTS] = [Number(flags.hosts), Number(flags.requests)];
const CLUSTER = 'bench';
const SERVER_LIMIT_MS = 30_000;
/** Each queue of a host is polled all the time; the server's own limit is 1,200 polls a namespace and frontend. */
const POLLERS = 'frontend.namespaceCount=20000';
/** The server lets a workflow have ten updates under way. */
const REGISTER_AT_ONCE = 8;

async function startServer() {
  const port = String(await findFreePort());
  const program = process.env['TEMPORAL_CLI_PATH'] ?? join(root, '.venv/bin/temporal');
  const args = [
    'server',
    'start-dev',
    '--dynamic-config-value',
    POLLERS,
    '--headless',
    '--log-level',
    'never',
    '--ip',
    '127.0.0.1',
    '--port',
    port,
  ];
  const server = spawn(program, [...args, '--http-port', String(await findFreePort())], { stdio: 'ignore' });
  process.once('exit', () => server.kill('SIGKILL'));
  const address = `127.0.0.1:${port}`;
  const deadline = Date.now() + SERVER_LIMIT_MS;
  while (Date.now() < deadline) {
    try {
      const connection = await Connection.connect({ address, connectTimeout: 1000 });
      await connection.workflowService.describeNamespace({ namespace: 'default' });
      return { address, client: new Client({ connection }) };
    } catch {
      await wait(100);
    }
  }
  throw new UserError(`The Temporal dev server ${program} does not answer; run "npm run setup".`);
}

/** @param {number} index */
const nameOf = (index) => `node-${String(index).padStart(4, '0')}`;

/** @param {number} index @returns {HostFacts} */
const factsOf = (index) => ({
  ...{
    name: nameOf(index),
    address: `10.0.${index >> 8}.${index & 255}`,
    npus: 8,
    runtime: 'ascend',
    version: '0.1.0',
  },
  workRootId: `00000000-0000-4000-8000-${String(index).padStart(12, '0')}`,
  machineId: String(index).padStart(32, '0'),
  bootId: `00000000-0000-4000-9000-${String(index).padStart(12, '0')}`,
  agentPid: index,
  agentStartedAt: new Date().toISOString(),
  fence: 0,
  held: null,
});

/** @param {readonly number[]} numbers @param {number} share */
const quantile = (numbers, share) => numbers.toSorted((a, b) => a - b)[Math.floor(share * (numbers.length - 1))] ?? 0;

/** @param {() => Promise<boolean>} check */
async function until(check) {
  while (!(await check())) await wait(50);
}

/** Every execution of the pool, oldest first: how long its history is. @param {Client} client */
async function historiesOf(client) {
  const lengths = [];
  for await (const { runId, historyLength } of client.workflow.list({
    query: `WorkflowId = '${poolWorkflowId(CLUSTER)}'`,
  }))
    lengths.unshift({ runId, events: historyLength ?? 0 });
  return lengths;
}

/** @param {Client} client @param {number} hosts @param {number} holdMs @param {string} wave */
async function borrowAll(client, hosts, holdMs, wave) {
  const before = performance.now();
  const results = await Promise.all(
    Array.from({ length: REQUESTS }, (_, index) =>
      client.workflow.execute('borrow', {
        workflowId: `${wave}-${index}`,
        taskQueue: controlQueue(CLUSTER),
        args: [{ cluster: CLUSTER, hosts, holdMs }],
      }),
    ),
  );
  const all = results.flatMap(({ fences }) => fences);
  if (new Set(all).size !== REQUESTS * hosts) throw new UserError('A host was granted twice under one fence number.');
  const waited = results.map(({ waitedMs }) => waitedMs);
  const [p50, p95, most] = [quantile(waited, 0.5), quantile(waited, 0.95), Math.max(...waited)];
  const seconds = ((performance.now() - before) / 1000).toFixed(1);
  say(
    `${wave.padEnd(9)}${REQUESTS} x ${hosts} hosts, held ${holdMs / 1000} s: granted after p50 ${p50} ms, p95 ${p95} ms, most ${most} ms; all in ${seconds} s`,
  );
}

async function main() {
  Runtime.install({ logger: new DefaultLogger('ERROR'), workerHeartbeatInterval: '5 seconds' });
  const { address, client } = await startServer();
  const connection = await NativeConnection.connect({ address });
  const silent = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error: console.error };
  const workflowsPath = fileURLToPath(new URL('./pool-workflows.mjs', import.meta.url));
  const control = await Worker.create({
    connection,
    taskQueue: controlQueue(CLUSTER),
    workflowBundle: await bundleWorkflowCode({ workflowsPath, logger: silent }),
    activities: createHosts(/** @type {never} */ ({ client, cluster: CLUSTER, namespace: 'default' })),
    maxHeartbeatThrottleInterval: '2 seconds',
  });
  const agents = await Promise.all(
    Array.from({ length: HOSTS }, (_, index) =>
      Worker.create({
        connection,
        taskQueue: ioQueue(CLUSTER, nameOf(index)),
        activities: { vacateHost: async () => ({ stopped: [] }) },
        maxConcurrentActivityTaskPolls: 1,
      }),
    ),
  );
  const workers = [control, ...agents];
  const running = Promise.all(workers.map((worker) => worker.run()));

  /** @returns {Promise<PoolState>} */
  const look = () => client.workflow.getHandle(poolWorkflowId(CLUSTER)).query('pool');
  const allFree = () =>
    until(async () => {
      const { hosts } = await look();
      return hosts.length === HOSTS && hosts.every((host) => host.live && hostStatus(host) === 'free');
    });
  say(
    `${HOSTS} hosts, ${REQUESTS} requests at once, on ${cpus().length} cores; server, pool, hosts and askers share them.`,
  );
  const joining = performance.now();
  const toJoin = Array.from({ length: HOSTS }, (_, index) => index);
  await Promise.all(
    Array.from({ length: REGISTER_AT_ONCE }, async () => {
      for (let index = toJoin.pop(); index !== undefined; index = toJoin.pop())
        await client.workflow.executeUpdateWithStart('registerHost', {
          args: [factsOf(index)],
          startWorkflowOperation: new WithStartWorkflowOperation('hostPool', {
            workflowId: poolWorkflowId(CLUSTER),
            taskQueue: controlQueue(CLUSTER),
            args: [{ cluster: CLUSTER }],
            workflowIdConflictPolicy: 'USE_EXISTING',
          }),
        });
    }),
  );
  const registered = performance.now();
  await allFree();
  say(
    `joining  registered in ${((registered - joining) / 1000).toFixed(1)} s, all proven empty ${((performance.now() - registered) / 1000).toFixed(1)} s later`,
  );

  const each = Math.floor(HOSTS / REQUESTS);
  await borrowAll(client, each, 1000, 'enough');
  await allFree();
  await borrowAll(client, 4 * each, 1000, 'queued');
  await allFree();

  const state = await look();
  const { hosts, joinedAt } = state;
  const bytes = JSON.stringify({ cluster: CLUSTER, pool: { hosts, queue: [], joinedAt } }).length;
  const histories = await historiesOf(client);
  say(
    `history  ${histories.map(({ events }) => events).join(' + ')} events: ${histories.length - 1} continue-as-new; state ${(bytes / 1024).toFixed(0)} KiB, ${Math.round(bytes / HOSTS)} bytes a host`,
  );
  const fences = hosts.map(({ fence }) => fence);
  say(`fences   ${Math.min(...fences)} to ${Math.max(...fences)}`);
  for (const worker of workers) worker.shutdown();
  await running;
  await connection.close();
  await client.connection.close();
}

try {
  await main();
  process.exit(0);
} catch (error) {
  fail(error);
}

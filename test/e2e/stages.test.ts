/**
 * What goes wrong before training is found before it costs anything: a converter that lies, a model without a shard, a source that
 * cuts, rows that cannot be trained on. One agent whose converter lies as the run's id tells it to; a second one is cordoned, so that no
 * run here gets to train.
 */
import { createHash } from 'node:crypto';
import { appendFile, cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RunFailedError, type RunEvent, type RunHandle } from '../../src/client/index.js';
import type { RunSpecInput } from '../../src/spec/run.js';
import { DevCluster } from '../support/dev-cluster.js';
import { fileServer } from '../support/file-server.js';
import { lyingRuntime, startOwnAgent } from '../support/own-agent.js';
import { withTemporal } from '../support/run-history.js';
import { filesBelow, madeBy } from '../support/run-files.js';
import { BASE_MODEL, smallSpec, writeDigits } from '../support/small-run.js';
import { until, within } from '../support/until.js';

const HOST = 'host-liar';
const SPARE = 'host-spare';
const LIMIT_MS = 180_000;
const LOST = 'text_decoder.decoder.final_layernorm.weight';

let cluster: DevCluster;
let spec: ReturnType<typeof smallSpec>;
let data: string;
let endAgents: readonly (() => Promise<void>)[];

beforeAll(async () => {
  cluster = await DevCluster.start({ agents: 0 });
  data = join(cluster.root, 'data');
  const [bin] = await Promise.all([lyingRuntime(join(cluster.root, 'runtime')), writeDigits(data)]);
  endAgents = [await startOwnAgent(cluster, HOST, bin), await startOwnAgent(cluster, SPARE, bin)];
  await cluster.anneal.hosts.cordon(SPARE, 'The layout needs it, but no run may get it.');
  spec = smallSpec({ data, iterations: 10 });
});

afterAll(async () => {
  for (const end of endAgents) await end();
  expect(await cluster.stop()).toEqual([]);
});

/** How a run failed that must fail. */
async function failureOf(run: RunHandle): Promise<RunFailedError> {
  const ending = run.result().then(
    () => undefined,
    (error: unknown) => error,
  );
  const failed = await within(`run ${run.runId} fails`, LIMIT_MS, ending);
  if (!(failed instanceof RunFailedError)) throw new Error(`Run ${run.runId} has not failed: ${String(failed)}`);
  return failed;
}

async function callsOf(runId: string): Promise<number> {
  const text = await readFile(join(cluster.root, 'runtime', 'calls', runId), 'utf8').catch(() => '');
  return text.split('\n').length - 1;
}

describe('a converter that ends with exit code 0', () => {
  const onOneHost = (): RunSpecInput => ({ ...spec, layout: { hosts: 1, npusPerHost: 1 } });

  test.each([
    ['a-lost-tensor', `mp_rank_00 lacks ${LOST}`],
    ['a-renamed-tensor', `mp_rank_00 lacks ${LOST}`],
    ['a-shorter-tensor', 'parameters, but the model has'],
    ['an-extra-rank', 'it holds mp_rank_01, which is not in the plan'],
    ['nothing-but-the-tracker', 'latest_checkpointed_iteration.txt names release, which is not in'],
  ])('and leaves %s is caught, and the sentence says what is wrong', async (lie, sentence) => {
    const run = await cluster.anneal.runs.start(onOneHost(), { key: `lie-${lie}` });
    const { failure, message } = await failureOf(run);
    expect(message).toContain(sentence);
    expect(message).toContain(HOST);
    expect(failure).toBe('ConversionWrong');
    // The same lie would come again: it is not asked twice.
    expect(await callsOf(run.runId)).toBe(1);
  });

  test('and cuts a tensor is caught behind the split for Dist-train too', async () => {
    const run = await cluster.anneal.runs.start(spec, { key: 'lie-dist-a-shorter-tensor' });
    const { failure, message } = await failureOf(run);
    expect(message).toContain('parameters, but the model has');
    expect(failure).toBe('ConversionWrong');
  });
});

test('a base model whose index names a shard that is missing is refused before the converter starts', async () => {
  const folder = join(cluster.root, 'shardless');
  await cp(BASE_MODEL, folder, { recursive: true });
  const file = join(folder, 'model.safetensors.index.json');
  const index = JSON.parse(await readFile(file, 'utf8')) as { weight_map: Record<string, string> };
  index.weight_map[Object.keys(index.weight_map)[0]!] = 'model-00002-of-00002.safetensors';
  await writeFile(file, JSON.stringify(index));
  const changed = { ...spec, model: { ...spec.model, source: { uri: pathToFileURL(folder).href } } };
  const { failure, message } = await failureOf(await cluster.anneal.runs.start(changed, { key: 'honest-shardless' }));
  expect(message).toContain('its index names the file model-00002-of-00002.safetensors, which is missing');
  expect(failure).toBe('ConversionWrong');
  expect(await callsOf('honest-shardless')).toBe(0);
});

describe('rows that cannot be trained on', () => {
  const ANNOTATION = 'playground/opensource/digits_vqa.jsonl';
  let planted: RunSpecInput;

  beforeAll(async () => {
    const folder = join(cluster.root, 'planted');
    await cp(data, folder, { recursive: true });
    const images = join(folder, 'playground', 'data', 'digits');
    const whole = await readFile(join(images, '00000.png'));
    await writeFile(join(images, 'cut.png'), whole.subarray(0, whole.length / 2));
    const row = (id: string, image: string | undefined, question: string): string =>
      `${JSON.stringify({
        id,
        ...(image === undefined ? {} : { image, width: 28, height: 28 }),
        conversations: [
          { from: 'human', value: `${image === undefined ? '' : '<image>\n'}${question}` },
          { from: 'gpt', value: '0' },
        ],
      })}\n`;
    await appendFile(
      join(folder, ANNOTATION),
      row('row-without-file', 'digits/none.png', 'Which digit is this?') +
        row('row-with-cut-file', 'digits/cut.png', 'Which digit is this?') +
        row('row-without-image', undefined, 'Which digit is this?') +
        row('row-too-long', 'digits/00000.png', 'Which digit is this? '.repeat(40)),
    );
    const meta = join(folder, 'playground', 'meta.json');
    await writeFile(
      meta,
      (await readFile(meta, 'utf8')).replace(/"length": (\d+)/, (_, rows) => `"length": ${String(Number(rows) + 4)}`),
    );
    planted = { ...spec, data: { source: { uri: pathToFileURL(folder).href } } };
  });

  test('are refused by name, after a model was fetched from a server that keeps cutting the line', async () => {
    const names = ['config.json', 'model.safetensors', 'model.safetensors.index.json', 'preprocessor_config.json'];
    const paths = [...names, 'tokenizer.json', 'tokenizer_config.json'];
    const files = new Map(
      await Promise.all(paths.map(async (path) => [path, await readFile(join(BASE_MODEL, path))] as const)),
    );
    const server = await fileServer(Buffer.alloc(0), {
      files,
      etag: '"1"',
      cutAfter: (index) => (index < 20 ? 131_072 : undefined),
    });
    const source = { uri: server.url.replace('/file.bin', ''), files: paths.map((path) => ({ path })) };
    const run = await cluster.anneal.runs.start(
      { ...planted, model: { ...spec.model, source } },
      { key: 'honest-http' },
    );
    const { failure, message } = await failureOf(run);

    const { folder } = await madeBy(cluster, 'honest-http', 'model');
    expect(await filesBelow(folder.replace(/\/$/, ''))).toEqual([...paths].sort());
    const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
    for (const [path, bytes] of files)
      expect([path, digest(await readFile(join(folder, path)))]).toEqual([path, digest(bytes)]);
    expect(server.requests.filter(({ range }) => /^bytes=[1-9]/.test(range ?? '')).length).toBeGreaterThan(2);

    expect(failure).toBe('DataRefused');
    expect(message).toContain('4 of 454 rows cannot be used');
    for (const [line, id] of [
      [451, 'row-without-file'],
      [452, 'row-with-cut-file'],
      [453, 'row-without-image'],
      [454, 'row-too-long'],
    ] as const)
      expect(message).toContain(`${ANNOTATION} line ${String(line)}, id '${id}'`);
  });

  test('are left out where the spec allows as many; the gang then waits for hosts, says so, and can be cancelled', async () => {
    const allowed: RunSpecInput = { ...planted, data: { ...planted.data, maximumBadRows: 4 } };
    const run = await cluster.anneal.runs.start(allowed, { key: 'honest-rows' });
    const events: RunEvent[] = [];
    const watching = (async () => {
      for await (const event of run.watch({ pollMs: 200, signal: AbortSignal.timeout(LIMIT_MS) })) events.push(event);
    })();
    await until('the gang waits for a second host', LIMIT_MS, () => events.find(({ type }) => type === 'waiting'));
    const { folder } = await madeBy(cluster, 'honest-rows', 'dataset');
    const { rows } = JSON.parse(await readFile(join(folder, 'summary.json'), 'utf8')) as {
      rows: Record<string, number>;
    };
    expect(rows).toMatchObject({ bad: 4 });
    expect(rows['train']! + rows['heldout']!).toBe(450);
    for (const part of ['train', 'heldout'])
      expect(await readFile(join(folder, `${part}.jsonl`), 'utf8')).not.toContain('row-');

    await withTemporal(cluster.state.address, (client) => client.workflow.getHandle(run.workflowId).cancel());
    await watching;
    expect(events.at(-1)).toMatchObject({ type: 'outcome', outcome: 'stopped' });
    expect((await cluster.anneal.hosts.list()).map(({ owner }) => owner)).toEqual([null, null]);
    expect(await cluster.anneal.hosts.queue()).toEqual([]);
  });
});

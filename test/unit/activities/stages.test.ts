/** A stage on one host: its work is done once, however often the store is away when the result is to be stored. */
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import { MockActivityEnvironment } from '@temporalio/testing';
import { beforeEach, expect, test } from 'vitest';
import type { HostDeps } from '../../../src/activities/host/deps.js';
import { HostFence } from '../../../src/activities/host/fence.js';
import { createStages } from '../../../src/activities/host/stages.js';
import { writeRunDocuments } from '../../../src/activities/run-documents.js';
import type { StageInput, StageResult } from '../../../src/contract/activities.js';
import { inheritedEnvironment } from '../../../src/process/marker.js';
import { StoreError } from '../../../src/storage/errors.js';
import { publishArtifact } from '../../../src/storage/file-set.js';
import { FolderStore } from '../../../src/storage/folder-store.js';
import { demoPlan, demoSpec } from '../../support/demo-plan.js';
import { memoryGroup, withMemoryGroup } from '../../support/memory-group.js';
import { scratchFolder, writeTree } from '../../support/scratch.js';

/** Stands in for prepare's program: counts its calls, and writes what the stage hands on. */
const PROGRAM = `#!/bin/sh
echo once >> "$(dirname "$0")/calls"
mkdir -p dataset && echo row > dataset/train.jsonl
echo '{"rows": {"train": 8, "heldout": 2, "bad": 1}}' > dataset/summary.json
`;

class StoreThatGoes extends FolderStore {
  isAway = false;

  override async putFile(...args: Parameters<FolderStore['putFile']>): ReturnType<FolderStore['putFile']> {
    if (this.isAway) throw new StoreError('Unavailable', 'The store is away.');
    return super.putFile(...args);
  }
}

let root: string;
let store: StoreThatGoes;
let deps: HostDeps;
let program: string;

beforeEach(async () => {
  root = await scratchFolder();
  store = new StoreThatGoes(join(root, 'store'));
  await mkdir(join(root, 'bin'));
  const plan = demoPlan();
  const [command] = plan.stages.prepare.commands;
  if (command === undefined) throw new Error('The plan prepares nothing.');
  const prepare = { ...plan.stages.prepare, commands: [{ ...command, args: [], cwd: { hole: 'work' as const } }] };
  await writeRunDocuments(store, 'run', demoSpec(), { ...plan, stages: { ...plan.stages, prepare } });
  program = join(root, 'bin', command.program);
  await writeFile(program, PROGRAM);
  await chmod(program, 0o755);
  deps = {
    cluster: 'c',
    facts: { name: 'host-a' } as HostDeps['facts'],
    client: {} as unknown as Client,
    store,
    workRoot: join(root, 'work'),
    ...{ runtimeBin: join(root, 'bin'), trainerHome: root, toolsHome: root },
    environment: inheritedEnvironment(process.env),
    leaseTtlSeconds: 60,
    graceSeconds: 0.5,
  };
});

/** One attempt of the stage, on data of these rows. */
async function attempt(rows: string): Promise<StageResult> {
  await writeTree(join(root, rows), { 'rows.jsonl': rows });
  const input: StageInput = {
    runId: 'run',
    inputs: { data: await publishArtifact(new FolderStore(join(root, 'store')), join(root, rows)) },
  };
  const { prepareData } = createStages(deps, new HostFence(deps.workRoot, 'host-a'));
  return new MockActivityEnvironment().run(prepareData, input);
}

const calls = async (): Promise<number> => (await readFile(join(root, 'bin', 'calls'), 'utf8')).split('\n').length - 1;

test('work that could not be stored is not done again, and never taken for that of other inputs', async () => {
  store.isAway = true;
  await expect(attempt('one')).rejects.toThrow('away');
  await expect(attempt('one')).rejects.toThrow('away');
  expect(await calls()).toBe(1);
  await expect(attempt('two')).rejects.toThrow('away');
  expect(await calls()).toBe(2);
  store.isAway = false;
  const { artifacts, facts } = await attempt('two');
  expect(await calls()).toBe(2);
  expect(facts).toEqual({ trainRows: 8, heldOutRows: 2, droppedRows: 1 });
  expect(await store.read(`${artifacts.dataset?.prefix ?? ''}train.jsonl`)).toEqual(Buffer.from('row\n'));

  await attempt('one');
  expect(await calls()).toBe(3);
});

test('what is stored is forgotten: whoever asks again had it damaged, and gets it made anew', async () => {
  await attempt('one');
  await attempt('one');
  expect(await calls()).toBe(2);
});

test('a program that the kernel kills for want of memory is told of as that', async (context) => {
  const group = await memoryGroup(256 * 1024 * 1024);
  if (group === undefined) return context.skip('no control group can be made');
  // It asks to be the one that the kernel takes: this process is in the group as well.
  const greedy = "open('/proc/self/oom_score_adj', 'w').write('1000'); print('begins', flush=True); bytearray(10**9)";
  await writeFile(program, `#!/bin/sh\nexec python3 -c "${greedy}"\n`);
  await withMemoryGroup(group, async () => {
    await expect(attempt('one')).rejects.toMatchObject({
      type: 'OutOfHostMemory',
      message: expect.stringMatching(
        /^The kernel killed a process of this host's agent for want of memory\. The command \S+ was killed by SIGKILL after .* Its last line was: begins/,
      ) as string,
    });
  });
}, 40_000);

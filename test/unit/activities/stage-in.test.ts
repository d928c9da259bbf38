/** Staging in empties a generation's folders before its trainer starts, and never after. */
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MockActivityEnvironment } from '@temporalio/testing';
import { expect, test } from 'vitest';
import type { HostDeps } from '../../../src/activities/host/deps.js';
import { HostFence } from '../../../src/activities/host/fence.js';
import { createStageIn } from '../../../src/activities/host/stage-in.js';
import { trainersFolder } from '../../../src/activities/host/work-folders.js';
import { writeRunDocuments } from '../../../src/activities/run-documents.js';
import { trainerDir } from '../../../src/process/trainer-files.js';
import { publishArtifact } from '../../../src/storage/file-set.js';
import { FolderStore } from '../../../src/storage/folder-store.js';
import { demoPlan, demoSpec } from '../../support/demo-plan.js';
import { scratchFolder, writeTree } from '../../support/scratch.js';

test('an attempt that comes when the trainer was launched already leaves what that has saved', async () => {
  const root = await scratchFolder();
  const plan = demoPlan();
  const store = new FolderStore(join(root, 'store'));
  await writeRunDocuments(store, 'run', demoSpec(), plan);
  const release = plan.gang.releaseFiles.map(({ path }) => [`release/${path}`, path] as const);
  await writeTree(join(root, 'converted'), {
    ...Object.fromEntries(release),
    'latest_checkpointed_iteration.txt': 'release',
  });
  const converted = await publishArtifact(store, join(root, 'converted'));
  const workRoot = join(root, 'work');
  const owner = { workflowId: 'run/run/train', firstRunId: 'first', generation: 1 };
  const input = { runId: 'run', generation: 1, nodeRank: 0, fence: 1, owner, inputs: { converted }, resumeFrom: null };
  const deps = { store, workRoot, facts: { name: 'host-a' } } as unknown as HostDeps; // all that it stands on
  const host = createStageIn(deps, new HostFence(workRoot, 'host-a'));
  const stageIn = (): Promise<void> => new MockActivityEnvironment().run(host.stageIn, input);
  const dir = trainerDir(trainersFolder(workRoot), input);
  const saved = (): Promise<readonly string[]> => readdir(join(dir, 'save'));

  await stageIn();
  await writeFile(join(dir, 'save', 'of a trainer before'), '');
  await stageIn();
  expect(await saved()).toEqual([]);
  await writeFile(join(dir, 'save', 'of the trainer'), '');
  await writeFile(join(dir, 'record.json'), '{}');
  await stageIn();
  expect(await saved()).toEqual(['of the trainer']);
});

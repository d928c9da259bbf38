/** Golden histories replay with today's workflows: what runs now goes on after an upgrade. How to record: `record.ts`. */
import { readdir, readFile } from 'node:fs/promises';
import { historyFromJSON } from '@temporalio/common/lib/proto-utils.js';
import { Worker } from '@temporalio/worker';
import { expect, test } from 'vitest';
import { quietRuntime } from '../support/quiet-runtime.js';
import { workflowBundle } from '../support/workflow-bundle.js';
import { SCENARIOS, workflowsOf } from './scenarios.js';

quietRuntime();
const folder = new URL('./golden/', import.meta.url);
const names = (await readdir(folder)).filter((name) => name.endsWith('.json')).sort();

/** By file: the id under which the workflow ran, since a retrain derives that of its run from its own. */
const workflowIds = new Map<string, string>(
  SCENARIOS.flatMap(({ name }) => workflowsOf(name, name).map(([kind, id]) => [`${name}.${kind}.json`, id] as const)),
);

// A pattern that silently matched nothing would prove nothing.
test('every scenario has its histories, and no other file is there', () => {
  expect(names).toEqual([...workflowIds.keys()].sort());
  expect(names).toHaveLength(50);
});

test.each(names)('%s replays', async (name) => {
  const history = historyFromJSON(JSON.parse(await readFile(new URL(name, folder), 'utf8')));
  await Worker.runReplayHistory({ workflowBundle: { code: await workflowBundle() } }, history, workflowIds.get(name));
});

test('a history whose events do not follow from the workflow is refused', async () => {
  const text = await readFile(new URL('all-stages-run.fine-tune.json', folder), 'utf8');
  const history = historyFromJSON(JSON.parse(text.replaceAll('"openRun"', '"openAnotherRun"')));
  await expect(
    Worker.runReplayHistory({ workflowBundle: { code: await workflowBundle() } }, history, 'other'),
  ).rejects.toThrow();
});

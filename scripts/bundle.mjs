/** Second half of `npm run build`: bundles the built workflows for the control worker and copies what tsc does not. */
import { copyFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode } from '@temporalio/worker';

/** @param {string} path */
const here = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));

const { code } = await bundleWorkflowCode({
  workflowsPath: here('dist/workflows/index.js'),
  logger: { log() {}, trace() {}, debug() {}, info() {}, warn: console.warn, error: console.error },
});
await writeFile(here('dist/workflow-bundle.js'), code);
await copyFile(here('src/process/supervisor.py'), here('dist/process/supervisor.py'));

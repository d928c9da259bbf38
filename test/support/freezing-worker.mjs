/**
 * A control worker that freezes as a process does that gets no time: in the middle of creating an object whose key ends in a given
 * way, once, after its bytes are written and before they have their name. `node freezing-worker.mjs ENDING CONFIG`, on what is built.
 */
import { readFile } from 'node:fs/promises';
import { Worker } from '@temporalio/worker';
import { parse } from 'yaml';
import { FolderRoot } from '../../dist/storage/folder-root.js';
import { ControlConfig } from '../../dist/workers/config.js';
import { runControlWorker } from '../../dist/workers/control.js';

const [ending = '', config = ''] = process.argv.slice(2);
// Every poll that waits at the server when it freezes swallows a task for its whole time-out: as few as there can be.
const create = Worker.create.bind(Worker);
Worker.create = (options) =>
  create({ ...options, maxConcurrentWorkflowTaskPolls: 2, maxConcurrentActivityTaskPolls: 1 });

const { reveal } = FolderRoot.prototype;
let hasFrozen = false;

/** @param {string} temporary @param {string} path */
FolderRoot.prototype.reveal = async function (temporary, path) {
  if (hasFrozen || !path.endsWith(ending)) return reveal.call(this, temporary, path);
  hasFrozen = true;
  console.log('freezes');
  process.kill(process.pid, 'SIGSTOP');
  const isMine = await reveal.call(this, temporary, path);
  console.log(`thawed: ${isMine ? 'created' : 'was there'}`);
  return isMine;
};

await runControlWorker(ControlConfig.parse(parse(await readFile(config, 'utf8'))));

/** Moves a set of files to or from S3 as an agent does, and tells the longest time for which its heartbeat could not run, and how long it took to start. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runParallel } from '../../../dist/storage/parallel.js';
import { S3Store } from '../../../dist/storage/s3-store.js';

const [direction = '', settings = '', folder = '', manifest = ''] = process.argv.slice(2);
/** @type {readonly { path: string, sizeBytes: number, sha256: string }[]} */
const files = JSON.parse(readFileSync(manifest, 'utf8'));
const store = new S3Store(JSON.parse(settings));

/** Ten times as often as an agent's own beat, so that no gap hides between two of them. */
const BEAT_MS = 20;
const startMs = performance.now();
let gapMs = 0;
let last = performance.now();
setInterval(() => {
  const now = performance.now();
  gapMs = Math.max(gapMs, now - last);
  last = now;
}, BEAT_MS).unref();

await runParallel(files, store.parallelFiles, undefined, async (file) => {
  const path = join(folder, file.path);
  if (direction === 'up') await store.putFile(file.path, path, file);
  else await store.getFile(file.path, path, file);
});
process.stdout.write(JSON.stringify({ startMs, gapMs }));

/** A load folder: one checkpoint's verified files and a tracker of its own, so that a trainer can load nothing else. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { iterationFolder, TRACKER_FILE, trackerText } from '../../backends/mindspeed/checkpoint.js';
import type { FileSetRef } from '../../contract/activities.js';
import { replaceFile } from '../../process/trainer-files.js';
import { materialize } from '../../storage/file-set.js';
import type { Reporter } from '../progress.js';
import type { HostDeps } from './deps.js';

export interface CheckpointAt {
  readonly iteration: number;
  readonly checkpoint: FileSetRef;
}

/** `only` names the files that this node reads, relative to the iteration's folder; left out, all. The tracker comes last. */
export async function makeLoadFolder(
  { store }: HostDeps,
  folder: string,
  { iteration, checkpoint }: CheckpointAt,
  only: readonly string[] | undefined,
  { say, signal }: Reporter,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  await materialize(store, checkpoint, join(folder, iterationFolder(iteration)), {
    only,
    signal,
    onProgress: ({ bytesDone, bytesTotal }) => {
      say({ message: `restores iteration ${String(iteration)}`, done: bytesDone, total: bytesTotal });
    },
  });
  await replaceFile(join(folder, TRACKER_FILE), trackerText(iteration), { durable: true });
}

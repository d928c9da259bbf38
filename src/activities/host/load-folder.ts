/** A load folder: one checkpoint's verified files and a tracker of its own, so that a trainer can load nothing else. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { iterationFolder, TRACKER_FILE, trackerText } from '../../backends/mindspeed/checkpoint.js';
import type { FileSetRef } from '../../contract/activities.js';
import { replaceFile } from '../../process/trainer-files.js';
import { materialize, type Origins } from '../../storage/file-set.js';
import type { Reporter } from '../progress.js';
import type { HostDeps } from './deps.js';

export interface CheckpointAt {
  readonly iteration: number;
  readonly checkpoint: FileSetRef;
}

export interface Wanted {
  /** The files that this node reads, relative to the iteration's folder; left out, all. */
  readonly only?: readonly string[];
  /** Where this host may have the iteration's folder already. */
  readonly near?: readonly string[];
}

/** The tracker comes last. What an earlier attempt has left is hashed again: the manifest is believed, and no time of change. */
export async function makeLoadFolder(
  { store }: HostDeps,
  folder: string,
  { iteration, checkpoint }: CheckpointAt,
  { only, near }: Wanted,
  { say, signal }: Reporter,
): Promise<Origins> {
  await mkdir(folder, { recursive: true });
  const { origins } = await materialize(store, checkpoint, join(folder, iterationFolder(iteration)), {
    ...{ only, near, signal, verify: 'full' },
    onProgress: ({ bytesDone, bytesTotal }) => {
      say({ message: `restores iteration ${String(iteration)}`, done: bytesDone, total: bytesTotal });
    },
  });
  await replaceFile(join(folder, TRACKER_FILE), trackerText(iteration), { durable: true });
  return origins;
}

/** The host's fence: the highest lease number seen, kept on disk. A launch under a lower one comes from a lease that is over. */
import { mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { replaceFile } from '../../process/trainer-files.js';
import { failure } from '../fail.js';
import { fenceFile } from './work-folders.js';

/** Stores a higher fence and refuses a lower one. Called before anything of a lease begins. */
export async function passFence(workRoot: string, host: string, fence: number): Promise<void> {
  const file = fenceFile(workRoot);
  const seen = await seenFence(workRoot);
  if (fence < seen)
    throw failure(
      'StaleGeneration',
      `Host ${host} was leased again since (fence ${String(seen)}); work under fence ${String(fence)} is refused.`,
    );
  if (fence === seen) return;
  await mkdir(dirname(file), { recursive: true });
  await replaceFile(file, String(fence), { durable: true });
}

/** 0 on a host that was never leased. */
export async function seenFence(workRoot: string): Promise<number> {
  try {
    return Number(await readFile(fenceFile(workRoot), 'utf8'));
  } catch {
    return 0;
  }
}

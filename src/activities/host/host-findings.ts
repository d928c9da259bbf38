/**
 * What a host finds of itself when a generation has broken there, beside the rest of its evidence: by the same look as before a launch. No gang
 * waits for it: with sixteen NPUs it is a hundred calls of the vendor's tools, each of which may hang with the driver.
 */
import type { GangInput } from '../../contract/activities.js';
import { incidentNodeFolder } from '../../contract/store-keys.js';
import type { Judgement } from '../../preflight/judge.js';
import { pause } from '../../process/wait.js';
import type { ObjectStore } from '../../storage/object-store.js';
import type { HostDoctor } from './host-doctor.js';

export const FINDINGS_FILE = 'doctor.json';
const LOOK_LIMIT_MS = 120_000;
const STORE_LIMIT_MS = 10_000;

/** Where a generation has broken, and who can look at it. */
export interface BrokenNode {
  readonly store: ObjectStore;
  readonly host: string;
  readonly node: GangInput;
  readonly doctor: Pick<HostDoctor, 'lookOnce'>;
}

type Found = Judgement | { readonly notLooked: string };

/** Never fails: a host of which nothing could be found says so in the file, and a store that is away takes none. */
export async function storeFindings({ store, host, node, doctor }: BrokenNode, limitMs = LOOK_LIMIT_MS): Promise<void> {
  const since = new Date().toISOString();
  const ended = new AbortController();
  const found = await Promise.race([
    doctor.lookOnce().catch((error: unknown): Found => ({ notLooked: `The look failed: ${String(error)}` })),
    pause(limitMs, ended.signal).then((): Found => ({
      notLooked: `The look had not ended after ${String(limitMs / 1000)} s.`,
    })),
  ]);
  ended.abort();
  const key = `${incidentNodeFolder(node.runId, node.generation, node.nodeRank)}${FINDINGS_FILE}`;
  const body = `${JSON.stringify({ host, since, ...found }, null, 2)}\n`;
  await store.create(key, body, { signal: AbortSignal.timeout(STORE_LIMIT_MS) }).catch(() => undefined);
}

/** A run's spec and plan in the store: written once when the run opens, read by every activity of it. */
import { RunSpec } from '../spec/run.js';
import type { Plan } from '../plan/plan.js';
import { canonicalJson, sha256Hex } from '../storage/hashing.js';
import type { ObjectStore } from '../storage/object-store.js';
import { planKey, specKey } from '../contract/store-keys.js';
import { failure } from './fail.js';

/** Stores both, or finds them as they are; another spec under the same run id is refused. Returns the plan's digest. */
export async function writeRunDocuments(store: ObjectStore, runId: string, spec: RunSpec, plan: Plan): Promise<string> {
  const body = canonicalJson(plan);
  for (const [key, text] of [[specKey(runId), canonicalJson(spec)] as const, [planKey(runId), body] as const])
    if ((await store.create(key, text)) === 'different')
      throw failure(
        'FactConflict',
        `Run ${runId} exists in ${store.url} with another ${key}. Give the new run another id.`,
      );
  return sha256Hex(body);
}

export async function readSpec(store: ObjectStore, runId: string): Promise<RunSpec> {
  return readSpecAt(store, specKey(runId));
}

export async function readSpecAt(store: ObjectStore, key: string): Promise<RunSpec> {
  return RunSpec.parse(JSON.parse(await readText(store, key)));
}

/** Our own document, written by `writeRunDocuments`: its shape is not checked again. */
export async function readPlan(store: ObjectStore, runId: string): Promise<Plan> {
  return JSON.parse(await readText(store, planKey(runId))) as Plan;
}

async function readText(store: ObjectStore, key: string): Promise<string> {
  const bytes = await store.read(key);
  if (bytes === undefined)
    throw failure('ArtifactCorrupt', `${key} is missing in ${store.url}; restore it or start the run anew.`);
  return bytes.toString('utf8');
}

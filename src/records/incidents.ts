/**
 * The incidents of a run in the store, where they outlive Temporal's retention. Each is a create-once object that is named by its
 * generation and moment, both given by the gang's workflow, the one writer; what an incident cost in time is known later, and so is an
 * object beside it. When a training has ended they are one file, `runs/<run>/incidents.jsonl`; should the run train again after that, its
 * longer list is created beside it, as with the loss record.
 */
import type { Incident } from '../contract/gang.js';
import { finishedIncidentsKey, incidentsPrefix } from '../contract/store-keys.js';
import { StoreError } from '../storage/errors.js';
import { canonicalJson } from '../storage/hashing.js';
import type { ObjectStore } from '../storage/object-store.js';
import { runParallel } from '../storage/parallel.js';

/** `000002-1764099999123.json`; `…-recovered.json` has `secondsToNewIteration`. */
const NAME = /^\d{6}-\d+(-recovered)?\.json$/;
const PARALLEL_READS = 8;

/** Stores what is not there yet of these. Safe to repeat; an incident that is there stays as it is. */
export async function recordIncidents(
  store: ObjectStore,
  runId: string,
  incidents: readonly Incident[],
): Promise<void> {
  for (const incident of incidents) {
    const { secondsToNewIteration, ...decided } = incident;
    await store.create(keyOf(runId, incident, ''), canonicalJson(decided));
    if (secondsToNewIteration !== undefined)
      await store.create(keyOf(runId, incident, '-recovered'), canonicalJson(incident));
  }
}

/** In the order in which they came. */
export async function readIncidents(store: ObjectStore, runId: string): Promise<readonly Incident[]> {
  const prefix = incidentsPrefix(runId);
  const keys: string[] = [];
  for await (const { key } of store.list(prefix)) if (NAME.test(key.slice(prefix.length))) keys.push(key);
  const read = await runParallel(keys, PARALLEL_READS, undefined, (key) => readIncident(store, key));
  const known = new Map<string, Incident>();
  for (const incident of read) {
    const key = keyOf(runId, incident, '');
    if (incident.secondsToNewIteration !== undefined || !known.has(key)) known.set(key, incident);
  }
  return [...known.values()].sort((a, b) => a.at - b.at || a.generation - b.generation);
}

/** Writes the finished list; undefined when nothing happened. Safe to repeat. */
export async function writeIncidents(store: ObjectStore, runId: string): Promise<string | undefined> {
  const incidents = await readIncidents(store, runId);
  const last = incidents.at(-1);
  if (last === undefined) return undefined;
  const text = incidents.map((incident) => `${canonicalJson(incident)}\n`).join('');
  const first = finishedIncidentsKey(runId);
  if ((await store.create(first, text)) !== 'different') return first;
  const key = finishedIncidentsKey(runId, last.generation);
  await store.create(key, text);
  return key;
}

function keyOf(runId: string, { generation, at }: Incident, end: string): string {
  return `${incidentsPrefix(runId)}${String(generation).padStart(6, '0')}-${String(at)}${end}.json`;
}

async function readIncident(store: ObjectStore, key: string): Promise<Incident> {
  const text = (await store.read(key))?.toString('utf8') ?? '';
  try {
    return JSON.parse(text) as Incident;
  } catch (error) {
    throw new StoreError('DigestMismatch', `${key} in ${store.url} is damaged: it is no JSON.`, error);
  }
}

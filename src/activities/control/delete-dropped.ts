/**
 * Deletes the files of commits that the run's log has dropped for their age, and the evidence of generations that ended long ago. It follows
 * the log, so nothing goes before its drop; and it deletes by a look at what is there, so that what was left, or came back from a writer that
 * was frozen, goes too.
 */
import type { ControlActivities } from '../../contract/activities.js';
import {
  checkpointManifestName,
  checkpointPrefix,
  checkpointsFolder,
  incidentsPrefix,
  runLogPrefix,
  savedName,
} from '../../contract/store-keys.js';
import { EMPTY_RUN_LOG, foldFact, type RunFact } from '../../plan/run-log.js';
import { pause } from '../../process/wait.js';
import { factsFrom } from '../../storage/facts.js';
import type { ObjectStore } from '../../storage/object-store.js';
import { runParallel } from '../../storage/parallel.js';
import { orFail } from '../fail.js';
import { reporting } from '../progress.js';
import type { ControlDeps } from './deps.js';

/** Saves come minutes apart; files that nobody reads may wait a moment. */
const LOOK_MS = 2000;
const DELETES_AT_ONCE = 8;
/** Generations whose hosts' evidence is kept: what is older has been looked at or never will be. The incidents themselves stay. */
const EVIDENCE_KEPT = 20;

export function createDeleteDropped({ store }: ControlDeps): ControlActivities['deleteDropped'] {
  return ({ runId, once }) =>
    orFail(() =>
      reporting('control', async ({ say, signal }) => {
        const dropped = new Set<string>();
        let log = EMPTY_RUN_LOG;
        // Bounded by the activity's own limit and by cancellation, which the pause throws.
        for (;;) {
          const facts = (await factsFrom(store, runLogPrefix(runId), log.nextNumber)).map(
            ({ body }) => body as RunFact,
          );
          log = facts.reduce(foldFact, log);
          for (const fact of facts)
            if (fact.fact === 'drop' && fact.reason === 'too old')
              dropped.add(checkpointPrefix(runId, fact.generation, fact.iteration));
          // What stands is never touched, whatever else the log may say.
          for (const { checkpoint } of log.commits) dropped.delete(checkpoint.prefix);
          if (dropped.size > 0 && facts.length > 0) {
            const gone = await deleteBelow(store, checkpointsFolder(runId), dropped, signal);
            if (gone > 0) say({ message: `deleted ${String(gone)} objects of dropped commits` });
          }
          if (facts.some(({ fact }) => fact === 'open')) {
            const gone = await deleteEvidence(store, runId, log.generation - EVIDENCE_KEPT, signal);
            if (gone > 0) say({ message: `deleted ${String(gone)} objects of old evidence` });
          }
          if (once) return;
          await pause(LOOK_MS, signal);
        }
      }),
    );
}

/** Deletes what lies under these checkpoint folders, names before files: a reader then finds nothing, not something damaged. */
async function deleteBelow(
  store: ObjectStore,
  root: string,
  folders: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<number> {
  const names: string[] = [];
  const files: string[] = [];
  for await (const { key } of store.list(root)) {
    // g1/iter_0000020/ and what lies below: a name directly in it, or a file of a rank's folder.
    const [generation = '', iteration = '', ...path] = key.slice(root.length).split('/');
    if (!folders.has(`${root}${generation}/${iteration}/`)) continue;
    (path.length === 1 ? names : files).push(key);
  }
  for (const key of names.sort((a, b) => rankOf(a) - rankOf(b))) {
    signal.throwIfAborted();
    await store.delete(key);
  }
  await runParallel(files, DELETES_AT_ONCE, signal, (key) => store.delete(key));
  return names.length + files.length;
}

/** Of this generation and those before it; beside the folders of generations lie the incidents. */
async function deleteEvidence(store: ObjectStore, runId: string, upTo: number, signal: AbortSignal): Promise<number> {
  if (upTo < 1) return 0;
  const root = incidentsPrefix(runId);
  const old: string[] = [];
  for await (const { key } of store.list(root)) {
    const [generation = '', ...path] = key.slice(root.length).split('/');
    if (path.length > 0 && Number(generation) <= upTo) old.push(key);
  }
  await runParallel(old, DELETES_AT_ONCE, signal, (key) => store.delete(key));
  return old.length;
}

/** Nobody ships what is not named, so the name goes first; nobody reads what has no manifest, so that goes before the parts. */
function rankOf(key: string): number {
  if (key.endsWith(`/${savedName}`)) return 0;
  return key.endsWith(`/${checkpointManifestName}`) ? 1 : 2;
}

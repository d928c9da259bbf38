/** Where a run that retries another one may begin: at its last commit, if both trainings mean the same; or why not. */
import { planKey, runLogPrefix } from '../contract/store-keys.js';
import type { JsonWithHoles, Plan } from '../plan/plan.js';
import { foldRunLog, lastCommit, type Commit, type RunFact } from '../plan/run-log.js';
import { readFacts } from '../storage/facts.js';
import { canonicalJson } from '../storage/hashing.js';
import type { ObjectStore } from '../storage/object-store.js';

/** `note` is half a sentence for people. */
export interface EarlierCommit {
  readonly commit?: Commit;
  readonly note: string;
}

/** More would not be read on a page; the rest is counted. */
const NAMED = 3;
/** Longer values say nothing in a sentence. */
const READABLE = 80;

/** `stageKey` and `plan` are those of the training that is to begin. */
export async function findEarlierCommit(
  store: ObjectStore,
  runId: string,
  { stageKey, plan }: { readonly stageKey: string; readonly plan: Plan },
): Promise<EarlierCommit> {
  const facts = (await readFacts(store, runLogPrefix(runId))).map(({ body }) => body as RunFact);
  const commit = lastCommit(foldRunLog(facts));
  if (commit === undefined) return { note: `trains from iteration 0: run ${runId} has committed nothing` };
  const iteration = `iteration ${String(commit.iteration)}`;
  const key = facts.findLast((fact) => fact.fact === 'open')?.stageKey;
  if (key === stageKey) return { commit, note: `goes on from ${iteration}, which run ${runId} has committed` };
  // Written before there was a retry.
  if (key === undefined)
    return { note: `trains from iteration 0: run ${runId} does not say which training its ${iteration} belongs to` };
  const why = await differences(store, runId, plan);
  return { note: `trains from iteration 0: ${iteration} of run ${runId} belongs to another training, ${why}` };
}

async function differences(store: ObjectStore, runId: string, plan: Plan): Promise<string> {
  const bytes = await store.read(planKey(runId));
  if (bytes === undefined) return 'and its plan is not there to say how it differs';
  const before = JSON.parse(bytes.toString('utf8')) as Plan;
  const changes = changesBetween(before.stages.train.parameters, plan.stages.train.parameters, '');
  if (changes.length === 0) return 'since its model or its data set is another one';
  const more = changes.length > NAMED ? `, and ${String(changes.length - NAMED)} more` : '';
  return `since ${changes.slice(0, NAMED).join(', ')}${more}`;
}

/** `training.learningRate was 0.003 and is 0.001`, for each value that differs. */
function changesBetween(before: JsonWithHoles, after: JsonWithHoles, path: string): readonly string[] {
  if (isGroup(before) && isGroup(after))
    return [...new Set([...Object.keys(before), ...Object.keys(after)])].flatMap((key) =>
      changesBetween(before[key] ?? null, after[key] ?? null, path === '' ? key : `${path}.${key}`),
    );
  const [was, is] = [canonicalJson(before), canonicalJson(after)];
  if (was === is) return [];
  return [was.length + is.length > READABLE ? `${path} is another one` : `${path} was ${was} and is ${is}`];
}

function isGroup(value: JsonWithHoles): value is Readonly<Record<string, JsonWithHoles>> {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

/**
 * What a run of a spec would find ready in the store: the same keys that the run itself computes, but nothing is changed, and the
 * files are not read again. So "ready" holds as long as no file in the store was damaged.
 */
import type { FetchItem, FindResumePointInput, StageItem, StageResult } from '../contract/activities.js';
import { resumePrefix } from '../contract/store-keys.js';
import { type ArtifactName, type StageName, STAGE_NAMES } from '../plan/plan.js';
import type { ObjectStore } from '../storage/object-store.js';
import type { RunSpec } from '../spec/run.js';
import type { SourceSpec } from '../spec/source.js';
import type { PlannedSpec } from './spec-file.js';
import { openStore, storeAddress } from './store.js';
import type { WhereFlags } from './where.js';

/** One line a stage. */
export type Reuse = Readonly<Record<StageName, string>>;

/** A source that does not say within this time what it holds is left unknown: `anneal plan` must not hang. */
const SOURCE_LIMIT_MS = 10_000;

type Digests = Partial<Record<ArtifactName, string>>;
interface Ready {
  readonly runId: string;
  readonly result: StageResult;
}

export async function whatIsReused(planned: PlannedSpec, flags: WhereFlags): Promise<Reuse> {
  if ((await storeAddress(flags)) === undefined) return all('unknown: no store here');
  const store = await openStore(flags);
  const { stageKeyOf } = await import('../activities/control/resume-points.js');
  const look: Look = async (item, input) => {
    const key = stageKeyOf({ runId: '', item, ...input }, planned.plan, planned.spec);
    return (await readRecord(store, key)) ?? undefined;
  };
  return chain(planned, look);
}

type Look = (
  item: StageItem,
  input: Pick<FindResumePointInput, 'inputs' | 'fingerprint'>,
) => Promise<Ready | undefined>;

/** Follows the chain as far as the inputs are known: what is made anew has a digest that nobody knows yet. */
async function chain({ spec, plan }: PlannedSpec, look: Look): Promise<Reuse> {
  const { fingerprint } = await import('../activities/host/sources.js');
  const digests: Digests = {};
  const said: Partial<Record<StageName, string>> = {};
  const keep = (ready: Ready): void => {
    for (const [name, ref] of Object.entries(ready.result.artifacts)) digests[name as ArtifactName] = ref.digest;
  };
  const fetched = await Promise.all(
    sourcesOf(spec).map(async ([item, source]) => {
      try {
        const ready = await look(item, {
          inputs: {},
          fingerprint: await fingerprint(source, AbortSignal.timeout(SOURCE_LIMIT_MS), item),
        });
        if (ready !== undefined) keep(ready);
        return ready === undefined
          ? `${item.slice('fetch-'.length)} is fetched`
          : `${item.slice('fetch-'.length)} is ready (run ${ready.runId})`;
      } catch {
        return `${item.slice('fetch-'.length)} unknown: ${source.uri} cannot be looked at from here`;
      }
    }),
  );
  said.fetch = fetched.join(', ');
  for (const stage of STAGE_NAMES.slice(1)) {
    const inputs = plan.stages[stage].inputs.map((name) => [name, digests[name]] as const);
    const unknown = inputs.filter(([, digest]) => digest === undefined).map(([name]) => name);
    if (unknown.length > 0) said[stage] = `runs, since ${unknown.join(' and ')} may be new`;
    else {
      const ready = await look(stage, { inputs: Object.fromEntries(inputs) });
      if (ready !== undefined) keep(ready);
      said[stage] = ready === undefined ? 'runs' : `ready (run ${ready.runId})`;
    }
  }
  return said as Reuse;
}

function sourcesOf({ model, data, training }: RunSpec): readonly (readonly [FetchItem, SourceSpec])[] {
  const start = training.initFrom;
  return [
    ['fetch-model', model.source],
    ['fetch-data', data.source],
    ...(start === undefined ? [] : [['fetch-start', start] as const]),
  ];
}

async function readRecord(store: ObjectStore, stageKey: string): Promise<Ready | undefined> {
  const { highest } = await import('../storage/facts.js');
  return (await highest(store, resumePrefix(stageKey)))?.body as Ready | undefined;
}

function all(text: string): Reuse {
  return Object.fromEntries(STAGE_NAMES.map((stage) => [stage, text])) as unknown as Reuse;
}

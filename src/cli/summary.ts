/** The facts of a run that has ended, for its report: from its workflows, and from where things lie. */
import type { Place } from '../client/connect.js';
import { RunFailedError, type RunHandle, StoreUnknownError } from '../client/index.js';
import type { RunFacts } from '../report/run-report.js';
import { isStoreError } from '../storage/errors.js';

/** Of a run that still goes on it has what is known so far. Undefined when no worker is there to tell. */
export async function factsOf(
  run: RunHandle,
  place: Pick<Place, 'store' | 'uiUrl' | 'namespace'>,
): Promise<RunFacts | undefined> {
  const snapshot = await run.snapshot();
  if (snapshot === undefined) return undefined;
  const { state, gang } = snapshot;
  const page = pageOf(run, place);
  return {
    state,
    ...(state.outcome === 'running' ? {} : await endOf(run)),
    ...(gang === undefined ? {} : { incidents: gang.incidents }),
    ...(await measuredBy(run)),
    ...(place.store === undefined ? {} : { store: place.store }),
    ...(page === undefined ? {} : { page }),
  };
}

/** A store that is not known or does not answer takes the curve from a report, not the report. */
async function measuredBy(run: RunHandle): Promise<Pick<RunFacts, 'metrics' | 'metricsTrouble'>> {
  try {
    return { metrics: await run.metrics() };
  } catch (error) {
    if (error instanceof StoreUnknownError) return {};
    if (isStoreError(error)) return { metricsTrouble: error.message };
    throw error;
  }
}

/** The run's page in the Temporal UI; undefined where no UI is known. */
export function pageOf(run: RunHandle, { uiUrl, namespace }: Pick<Place, 'uiUrl' | 'namespace'>): string | undefined {
  return uiUrl === undefined
    ? undefined
    : `${uiUrl}/namespaces/${namespace}/workflows/${encodeURIComponent(run.workflowId)}`;
}

async function endOf(run: RunHandle): Promise<Pick<RunFacts, 'result' | 'message'>> {
  try {
    return { result: await run.result() };
  } catch (error) {
    if (!(error instanceof RunFailedError)) throw error;
    return { message: error.message };
  }
}

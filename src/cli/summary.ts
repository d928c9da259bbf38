/** The facts of a run that has ended, for its report: from its workflows, and from where things lie. */
import type { Place } from '../client/connect.js';
import { RunFailedError, type RunHandle } from '../client/index.js';
import type { RunFacts } from '../report/run-report.js';

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
    ...(place.store === undefined ? {} : { store: place.store }),
    ...(page === undefined ? {} : { page }),
  };
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

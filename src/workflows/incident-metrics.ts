/** What a gang's incidents add to the metrics of the process that runs this workflow; a replay adds nothing. */
import { metricMeter } from '@temporalio/workflow';
import type { Incident } from '../contract/gang.js';

const incidents = metricMeter.createCounter(
  'anneal_incidents',
  undefined,
  'Generations that ended early, by type of failure.',
);
const lost = metricMeter.createCounter('anneal_iterations_lost', undefined, 'Iterations that were trained again.');
const toDetect = seconds('detect', 'From the first sign of what broke a generation until it was known.');
const toDecide = seconds('decide', 'From then until it was decided what follows.');
const toNewIteration = seconds('new_iteration', 'From then until an iteration that no generation had reached before.');

function seconds(to: string, description: string): ReturnType<typeof metricMeter.createHistogram> {
  return metricMeter.createHistogram(`anneal_incident_to_${to}`, 'float', 'seconds', description);
}

/** Counts what `after` has and `before` had not. */
export function countIncidents(before: readonly Incident[], after: readonly Incident[]): void {
  for (const incident of after) {
    const { failure, iterationsLost, secondsToDetect, secondsToDecide, secondsToNewIteration } = incident;
    const known = before.find(({ at, generation }) => at === incident.at && generation === incident.generation);
    const tags = { failure };
    if (known === undefined) {
      incidents.add(1, tags);
      lost.add(iterationsLost, tags);
      if (secondsToDetect !== undefined) toDetect.record(secondsToDetect, tags);
      if (secondsToDecide !== undefined) toDecide.record(secondsToDecide, tags);
    }
    if (secondsToNewIteration !== undefined && known?.secondsToNewIteration === undefined)
      toNewIteration.record(secondsToNewIteration, tags);
  }
}

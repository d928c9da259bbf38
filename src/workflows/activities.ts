/** Typed handles to every activity: by queue, with its options and a summary that names the host. */
import { proxyActivities, proxyLocalActivities, type ActivityOptions } from '@temporalio/workflow';
import type { ControlActivities, IoActivities, NpuActivities } from '../contract/activities.js';
import { controlQueue, ioQueue, npuQueue } from '../contract/names.js';
import { ASK_POOL, CONTROL, DELETE, RECORD, VERIFY, WATCH } from './options.js';

export function control(cluster: string, summary: string): ControlActivities {
  return proxyActivities<ControlActivities>({ ...CONTROL, taskQueue: controlQueue(cluster), summary });
}

/** Asks which hosts live, and does not wait for one. */
export function askingPool(cluster: string, summary: string): Pick<ControlActivities, 'pickHost'> {
  return proxyActivities<ControlActivities>({ ...ASK_POOL, taskQueue: controlQueue(cluster), summary });
}

/** Hashes what it finds in the store. */
export function verifying(cluster: string, summary: string): ControlActivities {
  return proxyActivities<ControlActivities>({ ...VERIFY, taskQueue: controlQueue(cluster), summary });
}

export function recording(cluster: string, summary: string): Pick<ControlActivities, 'recordMetrics'> {
  return proxyActivities<ControlActivities>({ ...RECORD, taskQueue: controlQueue(cluster), summary });
}

export function watching(cluster: string, summary: string): ControlActivities {
  return proxyActivities<ControlActivities>({ ...WATCH, taskQueue: controlQueue(cluster), summary });
}

export function deleting(cluster: string, summary: string): Pick<ControlActivities, 'deleteDropped'> {
  return proxyActivities<ControlActivities>({ ...DELETE, taskQueue: controlQueue(cluster), summary });
}

/**
 * A commit is one event of history instead of six, since a long run has thousands; news to the run go the same way. Numbers
 * and bodies of facts are in the input, so a local activity that runs twice writes the same object twice, which is harmless.
 */
export function onControlWorker(): Pick<ControlActivities, 'appendRunFacts' | 'tellRun'> {
  return proxyLocalActivities<Pick<ControlActivities, 'appendRunFacts' | 'tellRun'>>({
    startToCloseTimeout: '1 minute',
    localRetryThreshold: '20 seconds',
    retry: { initialInterval: '1 second', maximumInterval: '10 seconds' },
  });
}

export function onIo(cluster: string, host: string, what: string, options: ActivityOptions): IoActivities {
  return proxyActivities<IoActivities>({ ...options, taskQueue: ioQueue(cluster, host), summary: `${what} · ${host}` });
}

export function onNpu(cluster: string, host: string, what: string, options: ActivityOptions): NpuActivities {
  return proxyActivities<NpuActivities>({
    ...options,
    taskQueue: npuQueue(cluster, host),
    summary: `${what} · ${host}`,
  });
}

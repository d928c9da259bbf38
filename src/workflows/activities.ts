/** Typed handles to every activity: by queue, with its options and a summary that names the host. */
import { proxyActivities, type ActivityOptions } from '@temporalio/workflow';
import type { ControlActivities, IoActivities, NpuActivities } from '../contract/activities.js';
import { controlQueue, ioQueue, npuQueue } from '../contract/names.js';
import { ASK_POOL, CONTROL, DELETE, FACTS, RECORD, VERIFY, WATCH } from './options.js';

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
 * Facts and news. Numbers and bodies of facts are in the input, so an attempt that runs twice writes the same object twice, which is harmless. No
 * local activities, though a commit would then be one event instead of six: of one that outlasts its workflow task, what ends beside it meanwhile
 * is replayed in another order than it was recorded (docs/decisions/0009-no-local-activities.md).
 */
export function writing(cluster: string, summary: string): Pick<ControlActivities, 'appendRunFacts' | 'tellRun'> {
  return proxyActivities<ControlActivities>({ ...FACTS, taskQueue: controlQueue(cluster), summary });
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

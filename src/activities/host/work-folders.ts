/** Where things lie below an agent's work root. Every path here belongs to one stage of one run, or is a verified copy. */
import { join } from 'node:path';

/** A verified copy of an artifact; read only, shared by all runs on this host. */
export const cacheFolder = (workRoot: string, digest: string): string => join(workRoot, 'cache', digest);

/** A copy of a base model without its weights; beside the whole one, which a stage may be mending meanwhile. */
export const tokenizerFolder = (workRoot: string, digest: string): string =>
  `${cacheFolder(workRoot, digest)}-tokenizer`;

/** A stage's own folder, emptied before each attempt that cannot go on from the last. */
export const stageFolder = (workRoot: string, runId: string, stage: string): string =>
  join(workRoot, 'runs', runId, stage);

/** The root below which the process layer keeps a folder for each run, generation and node rank. */
export const trainersFolder = (workRoot: string): string => join(workRoot, 'trainers');

/** Held by a supervisor and all its trainer's processes: one trainer per host, and the proof that none is left. */
export const hostLockFile = (workRoot: string): string => join(workRoot, 'host.lock');
/** Held by the agent for life. */
export const agentLockFile = (workRoot: string): string => join(workRoot, 'agent.lock');
/** The highest fence number that this host has seen, and whose lease it was. */
export const fenceFile = (workRoot: string): string => join(workRoot, 'fence.json');
/** Made once: tells this work root from another one whose agent goes by the same name. */
export const workRootIdFile = (workRoot: string): string => join(workRoot, 'work-root-id');
/** The task tokens of the attempts that run. */
export const attemptsFolder = (workRoot: string): string => join(workRoot, 'attempts');

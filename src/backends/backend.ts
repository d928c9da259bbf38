/** The seam between the engine and a training stack: what the activities need to know of it once a plan is made. */
import type { RuntimeSpec } from '../spec/runtime.js';
import { cpuProfile } from './cpu/profile.js';
import {
  iterationFolder,
  parseIterationFolder,
  parseTracker,
  TRACKER_FILE,
  trackerText,
} from './mindspeed/checkpoint.js';
import type { Tracker } from './mindspeed/checkpoint.js';
import { classifyExit } from './mindspeed/failure.js';
import { givesUp } from './mindspeed/failure-rules.js';
import type { ExitVerdict } from './mindspeed/failure-kinds.js';
import type { ExitEvidence } from './mindspeed/failure.js';
import type { RuntimeProfile } from './mindspeed/job.js';
import { parseLine } from './mindspeed/log.js';
import { plogErrors } from './mindspeed/plog.js';
import type { TrainerEvent } from './mindspeed/log.js';
import { ascendProfile } from './mindspeed/profile.js';

/** Functions, not methods: they may be taken out and passed on. */
export interface Backend {
  readonly kind: RuntimeSpec['kind'];
  /** Whether the trainer writes what it measures to a file; else that is read out of its log. */
  readonly writesMetrics: boolean;
  /** The file in a save or load folder that names its newest complete iteration; the last that a save writes. */
  readonly trackerFile: string;
  /** Returns what a line of the trainer's output says, or undefined for all the rest. */
  readonly parseLine: (line: string) => TrainerEvent | undefined;
  /** Whether a line of the trainer's output says that it ends, whatever its exit code will be and however long its launcher stays. */
  readonly givesUp: (line: string) => boolean;
  readonly parseTracker: (text: string) => Tracker;
  /** The content of a tracker that makes a trainer go on from an iteration. */
  readonly trackerText: (iteration: number) => string;
  /** `iter_0000120` */
  readonly iterationFolder: (iteration: number) => string;
  /** Returns the iteration that a folder is named after, or undefined if it is none of the trainer's. */
  readonly parseIterationFolder: (name: string) => number | undefined;
  readonly classifyExit: (evidence: ExitEvidence) => ExitVerdict;
  /** The errors in the stack's own logs shortly before a moment (epoch milliseconds), in their order in time. */
  readonly plogErrors: (texts: readonly string[], at: number) => readonly string[];
}

/** Both runtimes speak Megatron's words, so all that differs is in their profiles. */
export function backendFor(runtime: Pick<RuntimeSpec, 'kind'>): Backend {
  return {
    kind: runtime.kind,
    writesMetrics: runtime.kind === 'cpu',
    trackerFile: TRACKER_FILE,
    parseLine,
    givesUp,
    parseTracker,
    trackerText,
    iterationFolder,
    parseIterationFolder,
    classifyExit,
    plogErrors,
  };
}

export function profileFor(runtime: Pick<RuntimeSpec, 'kind'>): RuntimeProfile {
  return runtime.kind === 'cpu' ? cpuProfile : ascendProfile;
}

export type { ExitEvidence, ExitVerdict, Tracker, TrainerEvent };

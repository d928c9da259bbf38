/** Resume points: from a stage's key to what was made under it before, believed only after every byte was read again. */
import type { ControlActivities, FileSetRef, FindResumePointInput, StageResult } from '../../contract/activities.js';
import type { Plan } from '../../plan/plan.js';
import type { RunSpec } from '../../spec/run.js';
import { appendFact, highest } from '../../storage/facts.js';
import { verifyFileSet } from '../../storage/file-set.js';
import { digestOf } from '../../storage/hashing.js';
import { isStoreError } from '../../storage/errors.js';
import { resumePrefix } from '../../contract/store-keys.js';
import { orFail } from '../fail.js';
import { reporting, type Reporter } from '../progress.js';
import { readPlan, readSpec } from '../run-documents.js';
import type { ControlDeps } from './deps.js';

/** Raised when a stage's meaning changes in a way that its parameters do not show: all older results are then another key's. */
const KEY_VERSION = 1;

interface ResumeRecord {
  readonly runId: string;
  readonly result: StageResult;
}

export function createResumePoints({
  store,
}: ControlDeps): Pick<ControlActivities, 'findResumePoint' | 'recordResumePoint' | 'findDamage'> {
  return {
    findResumePoint: (input) =>
      orFail(() =>
        reporting('control', async (reporter) => {
          const stageKey = stageKeyOf(input, await readPlan(store, input.runId), await readSpec(store, input.runId));
          const last = await highest(store, resumePrefix(stageKey));
          if (last === undefined) return { stageKey, nextNumber: 1 };
          const { runId, result } = last.body as ResumeRecord;
          const rejected = await problemOf(result, reporter);
          return rejected === undefined
            ? { stageKey, nextNumber: last.number + 1, found: result, foundRunId: runId }
            : { stageKey, nextNumber: last.number + 1, rejected };
        }),
      ),
    findDamage: ({ fileSet }) =>
      orFail(() => reporting('control', async (reporter) => (await damageOf(fileSet, 'checkpoint', reporter)) ?? null)),
    recordResumePoint: ({ runId, stageKey, number, result }) =>
      orFail(async () => {
        const record: ResumeRecord = { runId, result };
        try {
          await appendFact(store, resumePrefix(stageKey), number, record);
        } catch (error) {
          // Two runs made the same at the same time. Both results are good, the first is the one that later runs find.
          if (!isStoreError(error, 'Conflict')) throw error;
        }
      }),
  };

  /** Why a recorded result must be made again, or undefined when each of its files is what its manifest says. */
  async function problemOf(result: StageResult, reporter: Reporter): Promise<string | undefined> {
    for (const [name, ref] of Object.entries<FileSetRef>(result.artifacts)) {
      const damage = await damageOf(ref, name, reporter);
      if (damage !== undefined) return `The earlier ${damage} It is made again.`;
    }
    return undefined;
  }

  async function damageOf(ref: FileSetRef, name: string, { say, signal }: Reporter): Promise<string | undefined> {
    try {
      const problems = await verifyFileSet(store, ref, {
        signal,
        onProgress: ({ bytesDone, bytesTotal }) => {
          say({ message: `reads ${name} again`, done: bytesDone, total: bytesTotal });
        },
      });
      const [first, ...others] = problems;
      if (first === undefined) return undefined;
      const more = others.length > 0 ? `, and ${String(others.length)} more` : '';
      return `${name} is damaged: ${first.path} is ${first.problem}${more}.`;
    } catch (error) {
      // The manifest itself is missing or is not what its digest says.
      if (isStoreError(error, 'NotFound') || isStoreError(error, 'DigestMismatch'))
        return `${name} is damaged: ${error.message}`;
      throw error;
    }
  }
}

/** SHA-256 over the stage, its parameters and the digests of its inputs: the same key means the same result. */
export function stageKeyOf({ item, inputs, fingerprint }: FindResumePointInput, plan: Plan, spec: RunSpec): string {
  const parameters = parametersOf(item, plan, spec);
  return digestOf({
    version: KEY_VERSION,
    item,
    runtime: runtimeOf(spec),
    inputs,
    fingerprint: fingerprint ?? null,
    parameters,
  });
}

/** What else a runtime may be asked for changes the training alone, so it stands in that stage's parameters. */
function runtimeOf({ runtime }: RunSpec): unknown {
  return runtime.kind === 'cpu' ? { kind: 'cpu' } : { kind: runtime.kind, mindspeedRelease: runtime.mindspeedRelease };
}

function parametersOf(item: FindResumePointInput['item'], plan: Plan, spec: RunSpec): unknown {
  switch (item) {
    case 'fetch-model':
      return spec.model.source;
    case 'fetch-data':
      return spec.data.source;
    case 'fetch-start':
      return spec.training.initFrom;
    default:
      return plan.stages[item].parameters;
  }
}

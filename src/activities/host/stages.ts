/** The stages that run on one host and need no NPU: convert, prepare, publish. Each ends with an artifact in the store. */
import { join } from 'node:path';
import { z } from 'zod';
import type { IoActivities, NpuActivities, StageInput, StageResult } from '../../contract/activities.js';
import type { ArtifactName, HoleValues, StageName, StagePlan } from '../../plan/plan.js';
import { publishArtifact } from '../../storage/file-set.js';
import { failure, orHostFailure } from '../fail.js';
import { reporting, type Reporter } from '../progress.js';
import { readPlan } from '../run-documents.js';
import { checkConverted, checkPublished, checkSourceModel } from './conversion-checks.js';
import type { HostDeps } from './deps.js';
import { readReport } from './evidence.js';
import type { HostFence } from './fence.js';
import { bringInputs } from './inputs.js';
import { makeLoadFolder } from './load-folder.js';
import { runStageCommands } from './stage-command.js';
import { Unstored } from './unstored.js';
import { stageFolder } from './work-folders.js';

/** What prepare says of the data: only what later stages and people need. */
const PreparedSummary = z.object({
  rows: z.object({ train: z.int().positive(), heldout: z.int().positive(), bad: z.int().nonnegative() }),
});
const Judged = z.object({ accuracy: z.number(), samples: z.int().positive(), weights_digest: z.string() });

type Facts = StageResult['facts'];
interface StageBody {
  readonly stage: Exclude<StageName, 'fetch' | 'train'>;
  readonly artifact: ArtifactName;
  /** The folder below `work` that becomes the artifact. */
  readonly output: string;
  before?(values: HoleValues): Promise<void>;
  after(values: HoleValues & { readonly work: string }, reporter: Reporter): Promise<Facts>;
}

export function createStages(
  deps: HostDeps,
  fence: HostFence,
): Pick<IoActivities, 'convertModel' | 'prepareData' | 'publishModel'> & Pick<NpuActivities, 'evaluateModel'> {
  const { store, workRoot, facts } = deps;
  return {
    convertModel: (input) =>
      runStage(input, {
        stage: 'convert',
        artifact: 'converted',
        output: 'converted',
        before: (values) => checkSourceModel(values.baseModel ?? ''),
        after: async (values) => checkConverted(deps, await readPlan(store, input.runId), values),
      }),
    prepareData: (input) =>
      runStage(input, {
        stage: 'prepare',
        artifact: 'dataset',
        output: 'dataset',
        after: async ({ work }) => {
          const { rows } = await readReport(join(work, 'dataset', 'summary.json'), PreparedSummary);
          return { trainRows: rows.train, heldOutRows: rows.heldout, droppedRows: rows.bad };
        },
      }),
    publishModel: (input) =>
      runStage(input, {
        stage: 'publish',
        artifact: 'published',
        output: 'published',
        after: (values) => checkPublished(values.baseModel ?? '', join(values.work, 'published')),
      }),
    evaluateModel: (input) =>
      fence.working(input, (over) =>
        runStage(
          input,
          {
            stage: 'evaluate',
            artifact: 'evaluation',
            output: '.',
            after: async ({ work }) => {
              const base = await readReport(join(work, 'base.json'), Judged);
              const tuned = await readReport(join(work, 'tuned.json'), Judged);
              const { accuracy, samples, weights_digest: weightsDigest } = tuned;
              return { baseAccuracy: base.accuracy, accuracy, samples, weightsDigest };
            },
          },
          over,
        ),
      ),
  };

  function runStage(input: StageInput, body: StageBody, over?: AbortSignal): Promise<StageResult> {
    return orHostFailure(facts.name, () =>
      reporting(facts.name, async (beats) => {
        const reporter = over === undefined ? beats : { ...beats, signal: AbortSignal.any([beats.signal, over]) };
        const { [body.stage]: plan } = (await readPlan(store, input.runId)).stages;
        const work = stageFolder(workRoot, input.runId, body.stage);
        const unstored = new Unstored(work, plan, input.inputs);
        const made = (await unstored.find()) ?? (await make(unstored, plan, input, body, reporter));
        reporter.say({ message: `stores ${body.artifact}` });
        const artifact = await publishArtifact(store, join(work, body.output), {
          signal: reporter.signal,
          onProgress: ({ bytesDone, bytesTotal }) => {
            reporter.say({ message: `stores ${body.artifact}`, done: bytesDone, total: bytesTotal });
          },
        });
        await unstored.forget();
        return { artifacts: { [body.artifact]: artifact }, facts: made };
      }),
    );
  }

  async function make(
    unstored: Unstored,
    plan: StagePlan,
    { runId, inputs }: StageInput,
    body: StageBody,
    reporter: Reporter,
  ): Promise<Facts> {
    await unstored.forget();
    const values = await bringInputs(deps, inputs, reporter);
    const trained = await bringCheckpoint({ runId, inputs }, body.stage, reporter);
    await body.before?.(values);
    const filled = await runStageCommands(deps, { runId, plan, values: { ...values, ...trained } }, reporter);
    return unstored.keep(await body.after(filled, reporter));
  }

  /** Publish reads a whole checkpoint: all nodes' files in one folder with its tracker. */
  async function bringCheckpoint(
    { runId, inputs }: StageInput,
    stage: string,
    reporter: Reporter,
  ): Promise<HoleValues> {
    if (inputs.checkpoint === undefined) return {};
    const iteration = Number(/iter_(\d+)\/$/.exec(inputs.checkpoint.prefix)?.[1] ?? Number.NaN);
    if (!Number.isInteger(iteration))
      throw failure('CheckpointPartial', `${inputs.checkpoint.prefix} is not the folder of an iteration.`);
    const folder = `${stageFolder(workRoot, runId, stage)}-trained`;
    await makeLoadFolder(deps, folder, { iteration, checkpoint: inputs.checkpoint }, {}, reporter);
    return { trained: folder };
  }
}

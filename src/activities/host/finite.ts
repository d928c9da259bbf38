/** Looks through restored shards for numbers that are not finite, by a tool of ours: only Python reads a checkpoint's tensors. */
import { join } from 'node:path';
import { z } from 'zod';
import type { GangInput } from '../../contract/activities.js';
import { runCommand } from '../../process/run-command.js';
import { failure } from '../fail.js';
import type { Reporter } from '../progress.js';
import type { HostDeps } from './deps.js';
import { readReport } from './evidence.js';
import { fillCommand } from './stage-command.js';

const found = z.object({ file: z.string(), tensor: z.string(), bad: z.number(), elements: z.number() });
const finiteReport = z.object({ tensors: z.number(), found: found.nullable() });

export interface Shards {
  readonly node: GangInput;
  readonly iteration: number;
  /** The iteration's folder. */
  readonly folder: string;
  readonly files: readonly string[];
}

/** Fails with `CheckpointDamaged` when a tensor holds a NaN or an infinity. */
export async function checkFinite(
  deps: HostDeps,
  dir: string,
  { node, iteration, folder, files }: Shards,
  { say, signal }: Reporter,
): Promise<void> {
  if (files.length === 0) return;
  const report = join(dir, 'finite.json');
  const command = fillCommand(
    deps,
    {
      program: 'python',
      args: ['-m', 'anneal_trainer.finite', '--report', report, folder, ...files],
      env: { PYTHONPATH: { hole: 'toolsHome' }, OMP_NUM_THREADS: '1' },
      cwd: dir,
    },
    { toolsHome: deps.toolsHome },
  );
  say({ message: `looks for numbers that are not finite in iteration ${String(iteration)}` });
  const marker = { workRoot: deps.workRoot, runId: node.runId, stage: 'stage-in' };
  await runCommand({ ...command, logFile: join(dir, 'finite.log'), marker }, { signal });
  const { found: bad } = await readReport(report, finiteReport);
  if (bad === null) return;
  throw failure(
    'CheckpointDamaged',
    `Iteration ${String(iteration)} was committed with numbers that are not finite: ${String(bad.bad)} of ` +
      `${String(bad.elements)} in ${bad.tensor} of ${bad.file}.`,
  );
}

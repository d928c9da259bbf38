/** `anneal demo`: everything from an empty machine to a judged model, watched, summed up, and cleaned away. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Anneal } from '../../client/index.js';
import type { RunSpec } from '../../spec/run.js';
import { ensureDigits } from '../digits.js';
import type { Dev } from '../dev/dev.js';
import { type Ending, listenForEnding } from '../ending.js';
import { EXIT_CODES } from '../exit-codes.js';
import { print } from '../output.js';
import { PACKAGE_ROOT } from '../package-root.js';
import { requirePlan } from '../spec-file.js';
import { pageOf } from '../summary.js';
import { aborted, withDev } from './dev.js';
import { follow } from './watch.js';

export interface DemoFlags {
  readonly fresh?: boolean;
  readonly stateDir: string;
  readonly store?: string;
  readonly port: number;
}

const SPEC_FILE = join(PACKAGE_ROOT, 'examples', 'laptop.yaml');

export async function demo(flags: DemoFlags): Promise<number> {
  const ending = listenForEnding();
  print('Anneal demo: a tiny InternVL3 learns to read handwritten digits, on two agents of this machine.');
  const { spec } = await requirePlan(SPEC_FILE);
  return withDev({ ...flags, agents: spec.layout.hosts }, ending, async (running) => {
    const signal = AbortSignal.any([ending.signal, running.failed]);
    try {
      return await fineTune(spec, running, ending, signal);
    } catch (error) {
      if (running.failed.aborted && !ending.signal.aborted) throw running.failed.reason;
      if (ending.signal.aborted) return ending.code() ?? EXIT_CODES.interrupted.code;
      throw error;
    }
  });
}

async function fineTune(spec: RunSpec, running: Dev, ending: Ending, signal: AbortSignal): Promise<number> {
  const data = fileURLToPath(spec.data.source.uri);
  if ((await ensureDigits(data, signal)) === 'written') print(`The digits data set is written to ${data}.`);
  const { address, namespace, cluster, store } = running.state;
  const anneal = await Anneal.connect({ address, namespace, cluster, store });
  try {
    const unfinished = await anneal.runs.findRunning(spec);
    const run = unfinished ?? (await anneal.runs.start(spec));
    const page = pageOf(run, running.state) ?? '';
    print(unfinished === undefined ? `Run ${run.runId} is started.` : `Run ${run.runId} of an earlier demo goes on.`);
    print(`  page: ${page}`);
    const code = await follow(run, { signal, place: running.state });
    if (!process.stdout.isTTY) return code;
    print(`The Temporal UI stays up: ${page}\nPress Ctrl-C to end everything.`);
    await aborted(signal);
    if (running.failed.aborted && !ending.signal.aborted) throw running.failed.reason;
    return code;
  } finally {
    await anneal.close();
  }
}

/** `anneal dev`: a cluster on this machine, until Ctrl-C. */
import { once } from 'node:events';
import { EXIT_CODES } from '../exit-codes.js';
import { listenForEnding, type Ending } from '../ending.js';
import { type Dev, startDev } from '../dev/dev.js';
import { note, print } from '../output.js';

export interface DevFlags {
  readonly agents: number;
  readonly stateDir: string;
  readonly store?: string;
  readonly port: number;
  readonly fresh?: boolean;
}

export async function dev(flags: DevFlags): Promise<number> {
  const ending = listenForEnding();
  return withDev(flags, ending, async (running) => {
    print(
      `Anneal runs on this machine with ${String(flags.agents)} agents. Ctrl-C ends everything; runs go on at the next start.`,
    );
    print(`  page:    ${running.state.uiUrl}`);
    print(`  server:  ${running.state.address}`);
    if (running.state.metricsUrl !== undefined) print(`  metrics: ${running.state.metricsUrl}`);
    print(`  state:   ${flags.stateDir}`);
    print('  try:     anneal submit examples/laptop.yaml --watch');
    await aborted(AbortSignal.any([ending.signal, running.failed]));
    if (running.failed.aborted && !ending.signal.aborted) throw running.failed.reason;
    return ending.code() ?? EXIT_CODES.ok.code;
  });
}

/** Starts a dev, uses it, and leaves no process, whatever happens in between. */
export async function withDev(
  flags: DevFlags,
  ending: Ending,
  use: (running: Dev) => Promise<number>,
): Promise<number> {
  print(`Starting Temporal, a control worker and ${String(flags.agents)} agents in ${flags.stateDir} ...`);
  const options = { ...flags, env: process.env, say: note, signal: ending.signal };
  let running: Dev;
  try {
    running = await startDev(options);
  } catch (error) {
    // The user's own wish is no error.
    if (ending.signal.aborted && error === ending.signal.reason) return ending.code() ?? EXIT_CODES.interrupted.code;
    throw error;
  }
  ending.onForce(() => {
    note('Killing everything now.');
    void running.kill().finally(() => process.exit(ending.code() ?? EXIT_CODES.interrupted.code));
  });
  try {
    return await use(running);
  } finally {
    note('Ending all processes (Ctrl-C again: at once) ...');
    const left = await running.stop();
    note(left.length === 0 ? 'All processes have ended.' : `These could not be ended: ${left.join(', ')}.`);
  }
}

export async function aborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, 'abort');
}

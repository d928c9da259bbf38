/**
 * Where the ranks of a trainer stand: written into its own log before it is killed. py-spy reads a process's memory from outside, also of
 * one that is stopped; a trainer that has registered `faulthandler` for SIGUSR1 writes its stacks itself, as long as it can run.
 */
import { execFile } from 'node:child_process';
import { appendFile, readFile, stat } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { TrainerMarker } from './marker.js';
import { environmentOf, readProcess } from './proc.js';
import { markedProcesses } from './kill.js';
import { monotonicSeconds, pause } from './wait.js';

/** How each rank's stacks begin in a log. */
export const STACKS_MARK = '[anneal] stacks of rank ';
const SIGUSR1 = 10;
const ANSWER_SECONDS = 3;
/** A dump of many threads comes in several writes. */
const SETTLED_MS = 200;
const PY_SPY_LIMIT_MS = 10_000;

export interface RankProcess {
  readonly rank: number;
  readonly pid: number;
  readonly state: string;
}

/** torchrun tells each of its workers its rank, and starts it in a session of its own; what a worker forks has the same rank. */
export async function rankProcesses(marker: TrainerMarker): Promise<readonly RankProcess[]> {
  const leaders = markedProcesses(marker).filter(({ pid }) => readProcess(pid)?.session === pid);
  const found = await Promise.all(
    leaders.map(async ({ pid }) => {
      const rank = environmentOf(pid).find((entry) => entry.startsWith('RANK='));
      if (rank === undefined) return [];
      return [{ rank: Number(rank.slice('RANK='.length)), pid, state: await stateOf(pid) }];
    }),
  );
  return found.flat().sort((a, b) => a.rank - b.rank);
}

const STATES: Readonly<Record<string, string>> = {
  R: 'running',
  S: 'sleeping',
  D: 'in a driver',
  T: 'stopped',
  t: 'traced',
};

async function stateOf(pid: number): Promise<string> {
  const letter = /^State:\s+(\w)/m.exec(await statusOf(pid))?.[1] ?? '';
  return STATES[letter] ?? 'gone';
}

const statusOf = (pid: number): Promise<string> => readFile(`/proc/${String(pid)}/status`, 'utf8').catch(() => '');

export interface DumpStacks {
  /** Where the trainer's own output goes. */
  readonly logFile: string;
  /** Programs to try, the first that is there counts. */
  readonly pySpy: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** Writes the stacks of one rank into the log. Returns what took them, or why nothing did; the log has the same words. */
export async function dumpStacks({ rank, pid, state }: RankProcess, how: DumpStacks): Promise<string> {
  const say = (text: string): Promise<void> => appendFile(how.logFile, `${text.trimEnd()}\n`);
  const who = `${STACKS_MARK}${String(rank)} (pid ${String(pid)}, ${state})`;
  const spied = await pySpy(pid, how);
  if ('stacks' in spied) {
    await say(`${who}, by py-spy:\n${spied.stacks}`);
    return 'py-spy';
  }
  const why = await whyNoSignal(pid, state);
  if (why !== undefined) {
    const reason = `none: ${spied.why}; ${why}`;
    await say(`${who}: ${reason}`);
    return reason;
  }
  await say(`${who}, by faulthandler, since ${spied.why}:`);
  if (await signalled(pid, how.logFile)) return 'faulthandler';
  const reason = `none: ${spied.why}; it did not answer SIGUSR1 within ${String(ANSWER_SECONDS)} s`;
  await say(`${who}: ${reason}`);
  return reason;
}

async function pySpy(pid: number, { pySpy: programs, env }: DumpStacks): Promise<{ stacks: string } | { why: string }> {
  for (const program of programs) {
    try {
      const { stdout } = await promisify(execFile)(program, ['dump', '--nonblocking', '--pid', String(pid)], {
        ...{ timeout: PY_SPY_LIMIT_MS, env, maxBuffer: 4 * 1024 * 1024 },
      });
      return { stacks: stdout };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') continue;
      return { why: `py-spy could not read it (${lastLine((error as { stderr?: string }).stderr ?? String(error))})` };
    }
  }
  return { why: 'py-spy is not installed' };
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1)?.slice(0, 200) ?? '';
}

/** SIGUSR1 ends a process that has no handler for it, and one that does not run answers nothing. */
async function whyNoSignal(pid: number, state: string): Promise<string | undefined> {
  const caught = BigInt(`0x${/^SigCgt:\s+([0-9a-f]+)/m.exec(await statusOf(pid))?.[1] ?? '0'}`);
  if ((caught & (1n << BigInt(SIGUSR1 - 1))) === 0n) return 'it has registered no faulthandler for SIGUSR1';
  return state === 'stopped' || state === 'traced' ? `it is ${state}, so it cannot answer SIGUSR1` : undefined;
}

/** Whether anything was written after the signal. */
async function signalled(pid: number, logFile: string): Promise<boolean> {
  const sizeOf = async (): Promise<number> => (await stat(logFile)).size;
  const before = await sizeOf();
  try {
    process.kill(pid, 'SIGUSR1');
  } catch {
    return false;
  }
  const deadline = monotonicSeconds() + ANSWER_SECONDS;
  for (let last = before; monotonicSeconds() < deadline;) {
    await pause(SETTLED_MS);
    const now = await sizeOf();
    if (now > before && now === last) return true;
    last = now;
  }
  return (await sizeOf()) > before;
}

/** Whether the kernel has ended a trainer for want of memory: a process of it got a SIGKILL that none of us has sent, and the kernel has sent one. */
import type { ExitReport } from '../../process/trainer-files.js';
import type { ExitVerdict } from './failure-kinds.js';
import { asRule, rankReport } from './failure-words.js';
import { OOM_KILL } from './kernel-rules.js';

export interface KernelWords {
  /** Its last lines before the end. */
  readonly lines: readonly string[];
  /** How many processes of the control group it has killed for want of memory since the launch. */
  readonly oomKills: number;
  /** Of the launcher and the supervisor. */
  readonly pids: readonly number[];
}

interface Killed {
  readonly exit: Pick<ExitReport, 'reason' | 'rc'>;
  readonly lines: readonly string[];
  readonly kernel?: KernelWords;
}

export function killedForMemory({ exit, lines, kernel }: Killed): ExitVerdict | undefined {
  if (kernel === undefined || exit.reason === 'stopped' || exit.reason === 'lease') return undefined;
  const report = rankReport(lines);
  // "RuntimeError: DataLoader worker (pid(s) 4242) exited unexpectedly", or "(pid 4242) is killed by signal: Killed."
  const workers = lines.flatMap(
    (line) => /DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)/.exec(line)?.[1]?.split(', ') ?? [],
  );
  const isLauncher = exit.reason === 'supervisor-lost' || exit.rc === -9;
  const pids = [
    ...(isLauncher ? kernel.pids.map(String) : []),
    ...(report?.code === -9 ? [report.pid ?? ''] : []),
    ...workers,
  ];
  if (pids.length === 0) return undefined;
  const kills = kernel.lines.filter((line) => OOM_KILL.signs.some((sign) => sign.test(line)));
  const kill = kills.findLast((line) => pids.some((pid) => line.includes(` process ${pid} (`)));
  if (kill !== undefined) return asRule(OOM_KILL, kill);
  // In a container the kernel's pids are others than ours, and its log may be closed; a control group counts its own.
  if (kernel.oomKills === 0) return undefined;
  return asRule(OOM_KILL, kills.at(-1) ?? `its control group counts ${String(kernel.oomKills)} since the launch`);
}

/** `anneal doctor`: looks at this host, says line by line what it found, and what to do about what speaks against it. */
import { join } from 'node:path';
import type { CheckResult, Finding } from '../../preflight/finding.js';
import type { HostReadings } from '../../preflight/host-readings.js';
import { type Judgement, verdictOf } from '../../preflight/judge.js';
import type { HostPlaces } from '../../preflight/probe-host.js';
import type { AgentConfig } from '../../workers/config.js';
import { CommandError, EXIT_CODES } from '../exit-codes.js';
import { note, print, printJson } from '../output.js';
import { PACKAGE_ROOT } from '../package-root.js';

interface DoctorFlags {
  readonly config?: string;
  readonly recordIdle?: boolean;
  readonly json?: boolean;
}

export async function doctor(flags: DoctorFlags): Promise<number> {
  const config = flags.config === undefined ? undefined : await agentConfig(flags.config);
  if (flags.recordIdle && config?.runtime !== 'ascend')
    throw new CommandError(
      'refused',
      '--record-idle needs --config with the settings of an agent whose runtime is "ascend": the baseline lies in its work root.',
    );
  const { probeHost } = await import('../../preflight/probe-host.js');
  const { judge } = await import('../../preflight/judge.js');
  const { ascendPlaces, findTool, placesOf } = await import('../../preflight/places.js');
  const [workRoot, searchPath] = [process.cwd(), process.env['PATH'] ?? ''];
  const machine = (): HostPlaces =>
    findTool('npu-smi', searchPath) === undefined
      ? { runtime: 'cpu', workRoot, runtimeBin: join(PACKAGE_ROOT, '.venv', 'bin') }
      : { runtime: 'ascend', workRoot, ascend: ascendPlaces(searchPath) };
  const places = config === undefined ? machine() : placesOf(config, searchPath);
  const readings = await probeHost(places);
  if (flags.recordIdle) return recordIdle(readings, places.workRoot);
  const judgement = judge(readings);
  if (flags.json) printJson({ host: config?.name ?? null, runtime: readings.runtime, ...judgement });
  else print(showJudgement(config?.name, readings.runtime, judgement));
  return judgement.isFit ? EXIT_CODES.ok.code : EXIT_CODES.failed.code;
}

async function agentConfig(file: string): Promise<AgentConfig> {
  const { agentSettings } = await import('./worker.js');
  return agentSettings(file);
}

async function recordIdle({ ascend }: HostReadings, workRoot: string): Promise<number> {
  const { baselineFile, baselineOf, writeBaseline } = await import('../../preflight/baseline.js');
  const baseline =
    ascend === undefined ? { unread: 'no NPU was looked at' } : baselineOf(ascend, new Date().toISOString());
  if ('unread' in baseline) {
    note(`Nothing is recorded, since this host is not known to be idle: ${baseline.unread}.`);
    return EXIT_CODES.failed.code;
  }
  await writeBaseline(workRoot, baseline.value);
  print(
    `What ${String(Object.keys(baseline.value.usedMb).length)} idle chips hold is recorded in ${baselineFile(workRoot)}.`,
  );
  return EXIT_CODES.ok.code;
}

const MARKS = { ok: 'ok', warn: 'warn', refuse: 'REFUSE' } as const;
const MARK_WIDTH = 6;

export function showJudgement(host: string | undefined, runtime: string, { isFit, checks }: Judgement): string {
  const width = Math.max(...checks.map(({ check }) => check.length));
  const lines = checks.flatMap((one) => showCheck(one, width));
  const findings = checks.flatMap((one) => one.findings);
  const refusing = findings.filter(({ severity }) => severity === 'refuse');
  const warnings = count(findings.length - refusing.length, 'warning');
  const end = isFit
    ? `Fit to train, ${warnings}.`
    : `Not fit to train: ${count(refusing.length, 'finding')} against it, ${warnings}. To grant it to nobody: anneal hosts cordon ${host ?? 'HOST'} --reason ${quote(refusing[0]?.cordon ?? '')}`;
  return [`${host ?? 'this machine'} (${runtime})`, ...lines, end].join('\n');
}

function showCheck(one: CheckResult, width: number): readonly string[] {
  const indent = ' '.repeat(MARK_WIDTH + 2);
  const head = `${MARKS[verdictOf(one)].padEnd(MARK_WIDTH)}  ${one.check.padEnd(width)}  ${one.state}`;
  return [head, ...one.findings.flatMap((found) => showFinding(found).map((line) => indent + line))];
}

function showFinding({ sentence, rule, remedy }: Finding): readonly string[] {
  return [`${sentence} It ${rule}.`, `-> ${remedy}`];
}

/** For a shell: a process that is named in a reason may have any name. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function count(number: number, noun: string): string {
  return `${number === 0 ? 'no' : String(number)} ${noun}${number === 1 ? '' : 's'}`;
}

/**
 * Reads the tables of `npu-smi info`: chips, and processes on them. By the names of the columns and by what stands between bars, never by
 * position in a line: widths differ between releases, and so do the columns of A2 and A3.
 */
import { quote, type Reading, reading, Unreadable, wholeNumber } from './reading.js';

/** As DCMI has it; UNKNOWN is a chip that is absent or has not started. */
export const HEALTH = ['OK', 'Warning', 'Alarm', 'Critical', 'UNKNOWN'] as const;
export type Health = (typeof HEALTH)[number];

export interface NpuChip {
  readonly npu: number;
  readonly chip: number;
  /** The number in /dev/davinci<N>, by which hccn_tool asks. */
  readonly physicalId: number;
  readonly name: string;
  readonly health: Health;
  readonly busId: string;
  readonly hbmUsedMb: number;
  readonly hbmTotalMb: number;
}

export interface NpuProcess {
  readonly npu: number;
  /** Left out where the table has no such column. */
  readonly chip?: number;
  readonly pid: number;
  /** May be empty: npu-smi does not always know it. */
  readonly name: string;
  readonly memoryMb: number;
}

export interface ProcessTable {
  readonly processes: readonly NpuProcess[];
  /** NPUs of which the table says that no process runs there. */
  readonly idleNpus: readonly number[];
}

export interface NpuTable {
  readonly version: string;
  readonly chips: readonly NpuChip[];
  readonly processes: Reading<ProcessTable>;
}

const SOURCE = 'npu-smi info';
type Row = readonly string[];

export function readNpuTable(text: string): Reading<NpuTable> {
  return reading(SOURCE, () => {
    const version = /npu-smi\s+(\S+)\s+Version:\s*\S+/.exec(text)?.[1];
    if (version === undefined) throw new Unreadable(`no banner with its version; it said ${quote(firstWords(text))}`);
    const rows = rowsOf(text);
    const processesAt = rows.findIndex((row) => row.includes('Process id'));
    const chipRows = processesAt < 0 ? rows : rows.slice(0, processesAt);
    return {
      version,
      chips: chipsOf(chipRows),
      processes: reading(SOURCE, () => {
        if (processesAt < 0) throw new Unreadable('it has no table of processes');
        return processesOf(rows.slice(processesAt));
      }),
    };
  });
}

export function healthOf(text: string): Health {
  const health = HEALTH.find((known) => known.toLowerCase() === text.toLowerCase());
  if (health === undefined) throw new Unreadable(`the health ${quote(text)} is none of ${HEALTH.join(', ')}`);
  return health;
}

function chipsOf(rows: readonly Row[]): readonly NpuChip[] {
  const at = rows.findIndex(([first = '']) => words(first).join(' ') === 'NPU Name');
  const [upper, lower] = [rows[at], rows[at + 1]];
  if (at < 0 || upper?.[1] !== 'Health' || lower?.[1] !== 'Bus-Id')
    throw new Unreadable('it has no table with the columns "NPU Name", "Health" and "Bus-Id"');
  const ids = words(lower[0] ?? '').join(' ');
  if (ids !== 'Chip' && ids !== 'Chip Phy-ID')
    throw new Unreadable(`the column under "NPU Name" is ${quote(ids)}, neither "Chip" nor "Chip Phy-ID"`);
  const usage = words(lower[2] ?? '').join(' ');
  if (usage !== 'AICore(%) Memory-Usage(MB) HBM-Usage(MB)')
    throw new Unreadable(`the column beside "Bus-Id" is ${quote(usage)}, without a known place for HBM-Usage(MB)`);
  const chips: NpuChip[] = [];
  // Each chip is two rows, one under each row of the heading.
  for (let row = at + 2; row < rows.length; row += 2)
    chips.push(chipOf(rows[row] ?? [], rows[row + 1] ?? [], ids === 'Chip Phy-ID'));
  if (chips.length === 0) throw new Unreadable('its table has no row of a chip');
  const seen = new Set(chips.map(({ physicalId }) => physicalId));
  if (seen.size < chips.length) throw new Unreadable('two of its rows are of the same chip');
  return chips;
}

function chipOf(upper: Row, lower: Row, hasPhysicalId: boolean): NpuChip {
  const [npu, name, ...more] = words(upper[0] ?? '');
  const [chip, physicalId, ...others] = words(lower[0] ?? '');
  const used = /^\S+\s+\d+\s*\/\s*\d+\s+(\d+)\s*\/\s*(\d+)$/.exec(lower[2] ?? '');
  if (
    upper.length !== lower.length ||
    name === undefined ||
    more.length > 0 ||
    others.length > 0 ||
    hasPhysicalId !== (physicalId !== undefined)
  )
    throw new Unreadable(
      `the rows ${quote(upper.join(' | '))} and ${quote(lower.join(' | '))} are not those of a chip`,
    );
  if (used === null)
    throw new Unreadable(`the usage ${quote(lower[2] ?? '')} does not end in the used and the whole HBM`);
  const npuId = wholeNumber(npu, 'an NPU');
  return {
    npu: npuId,
    chip: wholeNumber(chip, 'a Chip'),
    // Boards whose NPUs are one chip each have no such column: there it is the NPU's own number.
    physicalId: hasPhysicalId ? wholeNumber(physicalId, 'a Phy-ID') : npuId,
    name,
    health: healthOf(upper[1] ?? ''),
    busId: lower[1] ?? '',
    hbmUsedMb: wholeNumber(used[1], 'the used HBM'),
    hbmTotalMb: wholeNumber(used[2], 'the whole HBM'),
  };
}

function processesOf([header = [], ...rows]: readonly Row[]): ProcessTable {
  const ids = words(header[0] ?? '').join(' ');
  const at = (name: string): number => header.indexOf(name);
  const [pidAt, nameAt, memoryAt] = [at('Process id'), at('Process name'), at('Process memory(MB)')];
  if ((ids !== 'NPU Chip' && ids !== 'NPU ID') || pidAt < 0 || nameAt < 0 || memoryAt < 0)
    throw new Unreadable(`the heading ${quote(header.join(' | '))} of its table of processes is not known`);
  const processes: NpuProcess[] = [];
  const idleNpus: number[] = [];
  for (const row of rows) {
    const idle = /^No running processes found in NPU\s+(\d+)$/.exec(row[0] ?? '')?.[1];
    if (idle !== undefined) {
      idleNpus.push(Number(idle));
      continue;
    }
    const [npu, chip, ...more] = words(row[0] ?? '');
    if (row.length !== header.length || more.length > 0 || (chip === undefined) === (ids === 'NPU Chip'))
      throw new Unreadable(`the row ${quote(row.join(' | '))} of its table of processes is not known`);
    processes.push({
      npu: wholeNumber(npu, 'an NPU'),
      ...(chip === undefined ? {} : { chip: wholeNumber(chip, 'a Chip') }),
      pid: wholeNumber(row[pidAt], 'a Process id'),
      name: row[nameAt] ?? '',
      memoryMb: wholeNumber(row[memoryAt], 'a Process memory(MB)'),
    });
  }
  return { processes, idleNpus };
}

/** Cells of all rows; lines of rules (`+----+`) and the banner are none. */
function rowsOf(text: string): readonly Row[] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line.startsWith('|') && !/npu-smi\s+\S+\s+Version:/.test(line))
    .map((line) => line.replace(/^\|/, '').replace(/\|$/, '').split('|'))
    .map((cells) => cells.map((cell) => cell.trim()));
}

const words = (text: string): string[] => text.split(/\s+/).filter((word) => word !== '');

function firstWords(text: string): string {
  return text.trim().split('\n')[0] ?? '';
}

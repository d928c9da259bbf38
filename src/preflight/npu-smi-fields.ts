/** Reads what `npu-smi info -t …` and `-m` print: lines of `Key : value` in blocks, and a list with a heading. */
import { healthOf, type Health, type NpuProcess } from './npu-smi-table.js';
import { quote, type Reading, reading, Unreadable, wholeNumber } from './reading.js';

export interface Block {
  readonly id: number;
  readonly fields: ReadonlyMap<string, string>;
  /** The lines that are no single field. */
  readonly lines: readonly string[];
}

/**
 * Splits at the lines of a key. In `-t health` and `-l` that line opens its block, in `-t usages` and `-t proc-mem` it closes it:
 * taken the other way, one chip's values would be another's.
 */
export function blocksOf(text: string, key: string, idLine: 'opens' | 'closes'): readonly Block[] {
  const unsupported = /This device does not support querying [^\n]*/.exec(text)?.[0];
  if (unsupported !== undefined) throw new Unreadable(`it said ${quote(unsupported)}`);
  const blocks: Block[] = [];
  let open: { id?: number; fields: Map<string, string>; lines: string[] } = { fields: new Map(), lines: [] };
  const close = (): void => {
    if (open.id !== undefined) blocks.push({ id: open.id, fields: open.fields, lines: open.lines });
    open = { fields: new Map(), lines: [] };
  };
  for (const line of text.split('\n').map((one) => one.trim())) {
    const [, name, value] = /^([^:]+?)\s*:\s*(.*)$/.exec(line) ?? [];
    if (name === key) {
      if (idLine === 'opens') close();
      open.id = wholeNumber(value, `a ${key}`);
      if (idLine === 'closes') close();
    } else if (name !== undefined && value !== undefined && name !== 'Process id') open.fields.set(name, value);
    else if (line !== '') open.lines.push(line);
  }
  if (idLine === 'opens') close();
  if (blocks.length === 0) throw new Unreadable(`no line "${key} : …"; it said ${quote(text.trim().slice(0, 200))}`);
  return blocks;
}

export interface HealthDetail {
  readonly health: Health;
  /** Eight hexadecimal digits each; several faults may stand at once. */
  readonly errorCodes: readonly string[];
}

/** `npu-smi info -t health -i NPU -c CHIP` */
export function readHealthDetail(text: string): Reading<HealthDetail> {
  return reading('npu-smi info -t health', () => {
    const field = (name: string): string => {
      const found = new RegExp(`^\\s*${name}\\s*:\\s*(.*?)\\s*$`, 'm').exec(text)?.[1];
      if (found === undefined) throw new Unreadable(`no line "${name} : …"; it said ${quote(text.trim())}`);
      return found;
    };
    const codes = field('Error Code');
    const errorCodes = codes.match(/\b[0-9A-Fa-f]{8}\b/g) ?? [];
    if (errorCodes.length === 0 && codes !== 'NA') throw new Unreadable(`the Error Code ${quote(codes)} is not known`);
    return { health: healthOf(field('Health Status')), errorCodes };
  });
}

/** `npu-smi info -t proc-mem -i NPU`: processes by the host's own pids, chip by chip. */
export function readProcessMemory(npu: number, text: string): Reading<readonly NpuProcess[]> {
  return reading(`npu-smi info -t proc-mem -i ${String(npu)}`, () =>
    blocksOf(text, 'Chip ID', 'closes').flatMap(({ id: chip, lines }) => {
      const told = lines.filter((line) => !/^No process in device\.?$/.test(line));
      if (lines.length === 0)
        throw new Unreadable(`it names no process of chip ${String(chip)} and does not say that there is none`);
      return told.map((line) => {
        const [, pid, name, memory] =
          /^Process id:(\d+)\s+Process name:(.*?)\s*Process memory\(MB\):(\d+)$/.exec(line) ?? [];
        if (pid === undefined || name === undefined || memory === undefined)
          throw new Unreadable(`the line ${quote(line)} is not known`);
        return { npu, chip, pid: Number(pid), name, memoryMb: Number(memory) };
      });
    }),
  );
}

/** Of HBM: what it could not correct. */
export interface HbmErrors {
  /** Since the driver was loaded. */
  readonly doubleBit: number;
  /** Taken out of use for it, for good; null where the release does not print it. */
  readonly isolatedPages: number | null;
}

/** `npu-smi info -t ecc -i NPU -c CHIP` */
export function readHbmErrors(text: string): Reading<HbmErrors> {
  return reading('npu-smi info -t ecc', () => {
    const field = (name: string): string | undefined =>
      new RegExp(`^\\s*${name}\\s*:\\s*(\\S*)\\s*$`, 'm').exec(text)?.[1];
    const count = field('HBM Double Bit Error Count');
    if (count === undefined)
      throw new Unreadable(`no line "HBM Double Bit Error Count : …"; it said ${quote(text.trim())}`);
    const pages = field('HBM Double Bit Isolated Pages Count');
    return {
      doubleBit: wholeNumber(count, 'the HBM Double Bit Error Count'),
      isolatedPages: pages === undefined ? null : wholeNumber(pages, 'the HBM Double Bit Isolated Pages Count'),
    };
  });
}

export interface MappedChip {
  /** -1: the NPU is unusable and nothing else in its row counts. */
  readonly npu: number;
  readonly chip: number;
  readonly name: string;
}

/** `npu-smi info -m`: all chips that the driver knows; the board's controllers (MCU) are left out. */
export function readChipMap(text: string): Reading<readonly MappedChip[]> {
  return reading('npu-smi info -m', () => {
    const [heading = '', ...rows] = text
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '');
    const columns = heading.split(/\s{2,}|\t/);
    const at = (name: string): number => columns.indexOf(name);
    const [npuAt, chipAt, nameAt] = [at('NPU ID'), at('Chip ID'), at('Chip Name')];
    if (npuAt < 0 || chipAt < 0 || nameAt < 0) throw new Unreadable(`the heading ${quote(heading)} is not known`);
    return rows
      .map((row) => row.split(/\s{2,}|\t/))
      .filter((cells) => !/^mcu$/i.test(cells[nameAt] ?? ''))
      .map((cells) => {
        const [npu = '', chip = ''] = [cells[npuAt], cells[chipAt]];
        if (npu === '-1') return { npu: -1, chip: -1, name: '' };
        if (cells.length !== columns.length || !/^\d+$/.test(npu) || !/^\d+$/.test(chip))
          throw new Unreadable(`the row ${quote(cells.join('  '))} is not known`);
        return { npu: Number(npu), chip: Number(chip), name: cells[nameAt] ?? '' };
      });
  });
}

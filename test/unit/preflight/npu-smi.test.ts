/** npu-smi's output: every published form gives its values, and every other form is "could not be read", never a wrong value. */
import { describe, expect, test } from 'vitest';
import * as fields from '../../../src/preflight/npu-smi-fields.js';
import { HEALTH, readNpuTable, type NpuTable } from '../../../src/preflight/npu-smi-table.js';
import type { Reading } from '../../../src/preflight/reading.js';
import * as sample from '../../fixtures/ascend/samples.js';

const value = <T>(read: Reading<T>): T => {
  if ('unread' in read) throw new Error(`It could not be read: ${read.unread}`);
  return read.value;
};
const table = (text: string): NpuTable => value(readNpuTable(text));

describe('the tables', () => {
  test('of A2: the chip has the number of its NPU', () => {
    expect(table(sample.TABLE_A2 + sample.PROCESSES_A2)).toEqual({
      version: '24.1.rc1.b030',
      chips: [
        {
          ...{ npu: 0, chip: 0, physicalId: 0, name: '910B3', health: 'OK', busId: '0000:C1:00.0' },
          ...{ hbmUsedMb: 3318, hbmTotalMb: 65536 },
        },
      ],
      processes: {
        value: { processes: [{ npu: 0, chip: 0, pid: 139667, name: 'python', memoryMb: 30780 }], idleNpus: [7] },
      },
    });
  });

  test('of A3: two dies of one NPU, the second without power, their use without a blank before the slash', () => {
    const { chips } = table(sample.TABLE_A3);
    expect(chips.map(({ npu, chip, physicalId, hbmUsedMb }) => [npu, chip, physicalId, hbmUsedMb])).toEqual([
      [0, 0, 0, 57784],
      [0, 1, 1, 57831],
    ]);
  });

  test('of 26.0: wider, with the pid in the container and a process without name', () => {
    const { chips, processes, version } = table(sample.TABLE_26);
    expect([version, chips[0]?.hbmUsedMb]).toEqual(['26.0.rc2', 3318]);
    expect(value(processes).processes).toEqual([{ npu: 0, chip: 0, pid: 139667, name: '', memoryMb: 30780 }]);
  });

  test('of processes by NPU ID, without chips', () => {
    expect(value(table(sample.TABLE_A2 + sample.PROCESSES_NPU_ID).processes)).toEqual({
      processes: [{ npu: 3, pid: 139667, name: 'python', memoryMb: 30780 }],
      idleNpus: [4],
    });
  });

  test.each(HEALTH)('with the health %s', (health) => {
    expect(table(sample.TABLE_A2.replace('OK', health)).chips[0]?.health).toBe(health);
  });

  test('without a table of processes: that is unknown, and not "none"', () => {
    expect(table(sample.TABLE_A2).processes).toEqual({ unread: 'npu-smi info: it has no table of processes' });
  });
});

describe('what has another form is not read', () => {
  test.each([
    ['nothing', '', /no banner/],
    ['a driver that is taken', sample.DRIVER_ERRORS[0], /no banner.*DrvMngGetConsoleLogLevel failed/],
    ['a driver in use', sample.DRIVER_ERRORS[1], /ret is -8020/],
    ['an unknown health', sample.TABLE_A2.replace('OK', 'Fine'), /the health "Fine" is none of OK/],
    ['a board without HBM', sample.TABLE_A2.replace('HBM-Usage(MB)', ''), /without a known place for HBM/],
    [
      'columns that were exchanged',
      sample.TABLE_A2.replace('AICore(%)   Memory-Usage(MB)', 'Memory-Usage(MB) AICore(%)'),
      /known place/,
    ],
    [
      'no figure of HBM',
      sample.TABLE_A2.replace('3318 / 65536', 'NA   / NA'),
      /does not end in the used and the whole HBM/,
    ],
    ['a heading without Chip', sample.TABLE_A2.replace('| Chip ', '|      '), /neither "Chip" nor "Chip Phy-ID"/],
    ['no row of a chip', sample.TABLE_A2.split('\n').slice(0, 6).join('\n'), /no row of a chip/],
    ['half a chip', sample.TABLE_A2.replace(/\| 0 {25}.*\n/, ''), /are not those of a chip/],
    ['one chip twice', sample.TABLE_A3.replace('| 1     1 ', '| 1     0 '), /two of its rows are of the same chip/],
    [
      'an A3 row under the heading of A2',
      sample.TABLE_A3.replace('Chip  Phy-ID', 'Chip        '),
      /are not those of a chip/,
    ],
  ])('%s', (_, text, why) => {
    expect(readNpuTable(text)).toEqual({ unread: expect.stringMatching(why) as string });
  });

  test.each([
    ['a heading', sample.PROCESSES_A2.replace('Process memory(MB)', 'Memory'), /heading/],
    ['a pid that is no number', sample.PROCESSES_A2.replace('139667', 'NA    '), /a Process id is "NA", no number/],
    ['a row with a cell too many', sample.PROCESSES_A2.replace('| python ', '| python | '), /the row .* is not known/],
    ['a row without chip', sample.PROCESSES_A2.replace('| 0       0 ', '| 0         '), /the row .* is not known/],
  ])('processes: %s', (_, text, why) => {
    expect(table(sample.TABLE_A2 + text).processes).toEqual({ unread: expect.stringMatching(why) as string });
  });
});

describe('fields', () => {
  test('the line of the chip opens its block in -t health and closes it in -t usages', () => {
    const health = fields.blocksOf(sample.HEALTH_OF_NPU, 'Chip ID', 'opens');
    expect(health.map(({ id, fields: of }) => [id, of.get('Health')])).toEqual([[0, 'OK']]);
    const usages = fields.blocksOf(sample.USAGES_A3, 'Chip ID', 'closes');
    expect(usages.map(({ id, fields: of }) => [id, of.get('HBM Usage Rate(%)'), of.get('HBM Capacity(MB)')])).toEqual([
      [0, '16', '65536'],
      [1, undefined, '65536'],
    ]);
    const [memory] = fields.blocksOf(sample.MEMORY, 'Chip ID', 'closes');
    expect(memory?.fields.get('HBM Clock Speed(MHz)')).toBe('1600');
    const [listed] = fields.blocksOf(sample.LIST_A3, 'NPU ID', 'opens');
    expect([listed?.id, listed?.fields.get('Chip Count')]).toEqual([0, '2']);
  });

  test('health of one chip', () => {
    expect(value(fields.readHealthDetail(sample.HEALTH_OF_CHIP))).toEqual({ health: 'OK', errorCodes: [] });
    const sick = sample.HEALTH_OF_CHIP.replace(': OK', ': Critical').replace(': NA', ': 80E01801 80C98000');
    expect(value(fields.readHealthDetail(sick))).toEqual({ health: 'Critical', errorCodes: ['80E01801', '80C98000'] });
  });

  test('processes of an NPU, chip by chip, also one without name', () => {
    expect(value(fields.readProcessMemory(0, sample.PROCESS_MEMORY))).toEqual([
      { npu: 0, chip: 0, pid: 1654497, name: 'python', memoryMb: 177 },
    ]);
    expect(value(fields.readProcessMemory(0, sample.PROCESS_MEMORY.replace('python', '')))[0]?.name).toBe('');
  });

  test('errors of HBM', () => {
    expect(value(fields.readHbmErrors(sample.ECC))).toEqual({ doubleBit: 0, isolatedPages: 0 });
    const bad = sample.ECC.replace(/(Double Bit Error Count +:) 0/, '$1 3').replace(
      /(Double Bit Isolated .*:) 0/,
      '$1 64',
    );
    expect(value(fields.readHbmErrors(bad))).toEqual({ doubleBit: 3, isolatedPages: 64 });
    const older = 'HBM Double Bit Error Count : 3\n';
    expect(value(fields.readHbmErrors(older))).toEqual({ doubleBit: 3, isolatedPages: null });
  });

  test('the chips that the driver knows, without the controllers; an NPU that is unusable stays -1', () => {
    expect(value(fields.readChipMap(sample.CHIP_MAP_A2))).toEqual([{ npu: 0, chip: 0, name: 'Ascend 910A' }]);
    expect(value(fields.readChipMap(sample.CHIP_MAP_A3)).map(({ chip }) => chip)).toEqual([0, 1]);
    expect(value(fields.readChipMap(sample.CHIP_MAP_A2.replace('\t0 ', '\t-1')))[0]?.npu).toBe(-1);
    // "The row is invalid": whatever else stands in it must not hide the others.
    const invalid = `${sample.CHIP_MAP_A2}\t-1                             -                              -\n`;
    expect(value(fields.readChipMap(invalid)).map(({ npu }) => npu)).toEqual([0, -1]);
  });

  test.each<readonly [string, Reading<unknown>, RegExp]>([
    [
      'what the device does not know',
      fields.readProcessMemory(0, sample.UNSUPPORTED),
      /does not support querying proc-mem/,
    ],
    ['a block that says nothing', fields.readProcessMemory(0, 'Chip ID : 0\n'), /does not say that there is none/],
    [
      'another line of a process',
      fields.readProcessMemory(0, 'pid 7 python\nChip ID : 0\n'),
      /the line "pid 7 python"/,
    ],
    ['no chip at all', fields.readProcessMemory(0, 'No process in device.\n'), /no line "Chip ID : …"/],
    ['a health of another form', fields.readHealthDetail('Health=OK'), /no line "Error Code : …"/],
    [
      'an error code of another form',
      fields.readHealthDetail(sample.HEALTH_OF_CHIP.replace('NA', '12')),
      /Error Code "12"/,
    ],
    ['no errors of HBM', fields.readHbmErrors('DDR Double Bit Error Count : 0'), /no line "HBM Double/],
    [
      'pages that are not counted',
      fields.readHbmErrors(sample.ECC.replace(/(Double Bit Isolated .*:) 0/, '$1 NA')),
      /Isolated Pages Count is "NA", no number/,
    ],
    ['errors that are not counted', fields.readHbmErrors('HBM Double Bit Error Count : NA'), /no number/],
    ['another heading', fields.readChipMap('ID  Name\n0  910B3\n'), /the heading "ID {2}Name"/],
    ['another row', fields.readChipMap(`${sample.CHIP_MAP_A2}\t1    0\n`), /the row "1 {2}0"/],
  ])('%s is not read', (_, read, why) => {
    expect(read).toEqual({ unread: expect.stringMatching(why) as string });
  });
});

/** The kernel's log: read by whoever may, in the forms that its readers print, from a moment on, and never waited for. */
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { kernelLines, type KernelLog, type LogReader } from '../../../src/process/kernel-log.js';
import { monotonicSeconds } from '../../../src/process/wait.js';
import { scratchFolder } from '../../support/scratch.js';

const KILL = 'Memory cgroup out of memory: Killed process 6505 (python3) total-vm:993144kB, anon-rss:58240kB';
/** Of util-linux 2.38, captured here: `dmesg --time-format iso`. */
const DMESG = `2026-11-26T06:35:41,100000+00:00 random: crng reseeded due to virtual machine fork
2026-11-26T06:35:43,210605+00:00 ${KILL}
`;

async function reader(script: string): Promise<LogReader> {
  const file = join(await scratchFolder(), 'reader');
  await writeFile(file, `#!/bin/bash\n${script}\n`);
  await chmod(file, 0o755);
  return [file];
}
const printing = (text: string): Promise<LogReader> => reader(`cat <<'END'\n${text}END`);
const REFUSED = 'echo "dmesg: read kernel buffer failed: Operation not permitted" >&2; exit 1';

const textsOf = (log: KernelLog): readonly string[] | string =>
  'lines' in log ? log.lines.map(({ text }) => text) : log.unread;

test('the lines since a moment, with their time', async () => {
  const since = Date.parse('2026-11-26T06:35:42Z');
  expect(await kernelLines(since, [await printing(DMESG)])).toEqual({
    lines: [{ at: Date.parse('2026-11-26T06:35:43.210Z'), text: `2026-11-26T06:35:43,210605+00:00 ${KILL}` }],
  });
});

test.each([
  ['an older dmesg', `2026-11-26T08:35:43,210605+0200 ${KILL}\n`],
  ['journalctl', `2026-11-26T06:35:43+0000 node-1 kernel: ${KILL}\n`],
])('the form of %s', async (_, text) => {
  const since = Date.parse('2026-11-26T06:35:42Z');
  expect(textsOf(await kernelLines(since, [await printing(text)]))).toEqual([text.trimEnd()]);
  expect(textsOf(await kernelLines(since + 60_000, [await printing(text)]))).toEqual([]);
});

test('a message of several lines stays one', async () => {
  const text = `${DMESG}  goes on\n`;
  expect(textsOf(await kernelLines(Date.parse('2026-11-26T06:35:42Z'), [await printing(text)]))).toHaveLength(2);
});

test('one that is not permitted gives way to the next; with none, what each has said is told', async () => {
  const refused = await reader(REFUSED);
  expect(textsOf(await kernelLines(0, [['/nowhere/dmesg'], refused, await printing(DMESG)]))).toHaveLength(2);
  const other = await printing('something else\n');
  expect(textsOf(await kernelLines(0, [refused, other]))).toBe(
    `${refused[0]}: dmesg: read kernel buffer failed: Operation not permitted; ${other[0]}: something else`,
  );
  expect(await kernelLines(0, [['/nowhere/dmesg']])).toEqual({ unread: 'neither dmesg nor journalctl is here' });
});

test('one that hangs is given up within seconds', async () => {
  const startedAt = monotonicSeconds();
  const hanging = await reader('trap "" TERM; sleep 600');
  expect(await kernelLines(0, [hanging, await printing(DMESG)])).toEqual({ unread: `${hanging[0]}: hung` });
  expect(monotonicSeconds() - startedAt).toBeLessThan(8);
});

test('of a log that is too long the end', async () => {
  const long = await reader(
    `for i in $(seq 30000); do echo "2026-11-26T06:35:43,000000+00:00 line $i of sixty characters or a few more"; done`,
  );
  const texts = textsOf(await kernelLines(0, [long]));
  expect(texts).toHaveLength(5_000);
  expect(texts.at(-1)).toContain('line 30000 of');
});

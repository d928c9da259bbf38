/** A vendor's tool: its answer, one that hangs, one that is not there, and never two at once. */
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { askTool, type ToolCall } from '../../../src/process/ask-tool.js';
import { readProcess } from '../../../src/process/proc.js';
import { monotonicSeconds } from '../../../src/process/wait.js';
import { scratchFolder } from '../../support/scratch.js';
import { until } from '../../support/until.js';

async function tool(script: string, change: Partial<ToolCall> = {}): Promise<ToolCall> {
  const file = join(await scratchFolder(), 'tool');
  await writeFile(file, `#!/bin/bash\n${script}\n`);
  await chmod(file, 0o755);
  const env = { PATH: '/usr/bin:/bin' };
  return { argv: [file, 'info', '-m'], env, lockFile: file, limitMs: 10_000, waitMs: 10_000, ...change };
}

test('both streams and the code come back; arguments arrive as they are', async () => {
  expect(await askTool(await tool('printf "%s|" "$@"; echo "not well" >&2; exit 3'))).toEqual({
    ...{ kind: 'answered', code: 3, stdout: 'info|-m|', stderr: 'not well\n' },
  });
});

test('a tool that hangs is killed with all that it has started, and that takes no longer than it may', async () => {
  const call = await tool('trap "" TERM; sleep 600 & echo "$$ $!" > "$0.pids"; wait', { limitMs: 1_500 });
  const startedAt = monotonicSeconds();
  expect(await askTool(call)).toEqual({ kind: 'hung', isGone: true });
  expect(monotonicSeconds() - startedAt).toBeLessThan(6);
  const pids = (await readFile(`${call.argv[0]}.pids`, 'utf8')).trim().split(' ').map(Number);
  expect(pids).toHaveLength(2);
  await until('both processes are gone', 5_000, () => pids.every((pid) => readProcess(pid) === undefined) || undefined);
});

test('two callers, also of two tools with one lock, are served one after the other', async () => {
  // Each marks that it runs, and says so if another one is running.
  const script = 'dir=$(dirname "$0"); mkdir "$dir/running" || echo beside; sleep 0.3; rmdir "$dir/running"';
  const call = await tool(script);
  const other = join(call.argv[0], '../other');
  await writeFile(other, `#!/bin/bash\n${script}\n`);
  await chmod(other, 0o755);
  const answers = await Promise.all([askTool(call), askTool({ ...call, argv: [other] }), askTool(call)]);
  for (const answer of answers) expect(answer).toEqual({ kind: 'answered', code: 0, stdout: '', stderr: '' });
});

test('who waits too long for another caller is told so, and starts nothing', async () => {
  const slow = await tool('touch "$0.started"; sleep 600', { limitMs: 3_000 });
  const first = askTool(slow);
  await until('the first one runs', 5_000, () => readFile(`${slow.argv[0]}.started`).catch(() => undefined));
  expect(await askTool({ ...slow, waitMs: 300 })).toEqual({ kind: 'busy' });
  expect(await first).toMatchObject({ kind: 'hung' });
});

test('a tool that is not there, or may not be run, is not started, and no file is made in its place', async () => {
  const call = await tool('exit 0');
  const missing = `${call.argv[0]}-of-another-host`;
  expect(await askTool({ ...call, argv: [missing], lockFile: missing })).toEqual({
    ...{ kind: 'not-started', why: `${missing} cannot be used (ENOENT)` },
  });
  await expect(readFile(missing)).rejects.toMatchObject({ code: 'ENOENT' });
  await chmod(call.argv[0], 0o644);
  expect(await askTool(call)).toMatchObject({ kind: 'not-started', why: expect.stringContaining('EACCES') as string });
});

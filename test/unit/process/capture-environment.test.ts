/** What vendors' scripts set, read by a real shell, and how environments are put together. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { captureEnvironment, joinEnvironments } from '../../../src/process/capture-environment.js';
import { scratchFolder } from '../../support/scratch.js';

const before = { PATH: process.env['PATH'] ?? '', HOME: '/home/somebody' };

async function scripts(...texts: readonly string[]): Promise<readonly string[]> {
  const folder = await scratchFolder();
  const files = texts.map((_, index) => join(folder, `set env ${String(index)}.sh`));
  await Promise.all(files.map((file, index) => writeFile(file, texts[index] ?? '')));
  return files;
}

describe('captured are', () => {
  test('what differs, and no more; of a script that reads unset variables, prints, and ends with the status of a failed test', async () => {
    const files = await scripts(
      'echo noise\nexport LD_LIBRARY_PATH=/cann/lib:$LD_LIBRARY_PATH HOME=$HOME\nexport PATH=/cann/bin:$PATH\n[ -n "$DEBUG" ] && export DEBUG=2\n',
    );
    expect(await captureEnvironment(files, before)).toEqual({
      LD_LIBRARY_PATH: '/cann/lib:',
      PATH: `/cann/bin:${before.PATH}`,
    });
  });

  test('values with line feeds, quotes and equals signs; functions are none', async () => {
    const files = await scripts(`export TEXT='a=b\n"c" $d'\nf() { :; }\nexport -f f\n`);
    expect(await captureEnvironment(files, before)).toEqual({ TEXT: 'a=b\n"c" $d' });
  });

  test('a later script sees what an earlier one has set, and neither sees arguments, nor standard input', async () => {
    const files = await scripts(
      'export FIRST="$#"\nscripts=()\nscript=x\n',
      'export SECOND="$FIRST and $# and $(cat)"\n',
    );
    expect(await captureEnvironment(files, before)).toEqual({ FIRST: '0', SECOND: '0 and 0 and ' });
  });
});

describe('refused with a sentence is', () => {
  test('a script that is not there', async () => {
    await expect(captureEnvironment(['/no/set_env.sh'], before)).rejects.toThrow(
      '/no/set_env.sh cannot be read (ENOENT): it must be a set_env.sh of CANN.',
    );
  });

  test.each([
    ['with a status', 'echo "no driver here" >&2\nexit 3\n', 'ended the shell: no driver here'],
    ['with 0', 'exit 0\n', 'ended the shell: it called exit'],
  ])('a script that ends the shell %s', async (_, text, words) => {
    await expect(captureEnvironment(await scripts(text), before)).rejects.toThrow(words);
  });

  test('a script that sets nothing', async () => {
    await expect(captureEnvironment(await scripts('HERE=1\n'), before)).rejects.toThrow('set no variable');
  });
});

test('joined, later ones win; lists of places keep all, those of later ones first, each once and none empty', () => {
  expect(
    joinEnvironments(
      { PATH: '/usr/bin:/bin', A: '1', B: '1' },
      { PATH: '/cann/bin:/usr/bin:/bin', PYTHONPATH: '/cann/python:', B: '2' },
      { PATH: '/runtime/bin', PYTHONPATH: '/tools' },
    ),
  ).toEqual({
    ...{ PATH: '/runtime/bin:/cann/bin:/usr/bin:/bin', PYTHONPATH: '/tools:/cann/python' },
    ...{ A: '1', B: '2' },
  });
});

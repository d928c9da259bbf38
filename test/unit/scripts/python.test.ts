/** Which Python set-up takes, and what it refuses in TRAINER_PYTHON. */
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { checkTrainerPython, choosePython, noPythonSentence } from '../../../scripts/lib/python.mjs';

const python = (minor: number, freeThreaded = false) => ({
  executable: `/opt/python3.${minor}`,
  version: [3, minor, 1] as const,
  freeThreaded,
  sitePackages: [],
});

describe('choosePython', () => {
  test.each([
    ['takes the python3 of the user', [13, 11, 12], 13],
    ['prefers one with the torch of the production side to a python3 that is 3.14', [14, 12], 12],
    ['takes 3.14 when there is no other', [14, 9], 14],
    ['passes over a python3 that is too old', [9, 10], 10],
    ['passes over one that is too new', [15, 13], 13],
  ])('%s', (_, minors, expected) => {
    expect(choosePython(minors.map((minor) => python(minor)))?.version[1]).toBe(expected);
  });

  test('finds none among unusable ones, and the sentence names each and the remedy', () => {
    const pythons = [python(9), python(13, true)];
    expect(choosePython(pythons)).toBeUndefined();
    expect(noPythonSentence(pythons)).toMatch(/\/opt\/python3\.9 is 3\.9\.1.*apt-get install -y python3/s);
  });
});

describe('TRAINER_PYTHON', () => {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'anneal-python-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  /** A program that answers as a Python would. */
  async function fakePython(name: string, minor: number, torch: string): Promise<string> {
    const path = join(folder, name);
    const look = JSON.stringify({ ...python(minor), executable: path });
    await writeFile(path, `#!/bin/sh\nif [ "$1" = -I ]; then echo '${look}'; else ${torch}; fi\n`);
    await chmod(path, 0o755);
    return path;
  }

  test('a Python with a torch that is new enough is taken', async () => {
    const path = await fakePython('good', 11, 'echo "torch 2.7.1+cpu"');
    expect(await checkTrainerPython(path)).toMatchObject({ executable: path, torch: '2.7.1+cpu' });
  });

  test.each([
    ['an old torch', 11, 'echo "torch 2.1.2"', /which has torch 2\.1\.2/],
    [
      'no torch',
      11,
      'echo "ModuleNotFoundError: No module named torch" >&2; exit 1',
      /cannot import torch \(ModuleNotFound/,
    ],
    ['an old Python', 9, 'echo "torch 2.7.1"', /which is Python 3\.9\.1/],
  ])('one with %s is refused in a sentence', async (name, minor, torch, sentence) => {
    await expect(checkTrainerPython(await fakePython(name, minor, torch))).rejects.toThrow(sentence);
  });

  test('one that does not exist is refused and not replaced by another', async () => {
    await expect(checkTrainerPython(join(folder, 'none'))).rejects.toThrow(/does not exist.*or unset TRAINER_PYTHON/s);
  });
});

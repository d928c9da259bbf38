/** What the parser says of specs that are wrong, and what it makes of relative sources. */
import { describe, expect, test } from 'vitest';
import { checkSpec } from '../../../src/spec/check.js';
import { editDistance, nearest } from '../../../src/spec/nearest.js';
import { parseSpec } from '../../../src/spec/parse.js';
import type { Refusal } from '../../../src/spec/refusal.js';

const good = {
  version: 1,
  name: 'a-run',
  model: { family: 'internvl3', preset: 'internvl3-tiny', source: { uri: 'file:///models/tiny' } },
  data: { source: { uri: 'file:///data' } },
  runtime: { kind: 'cpu' },
  layout: { hosts: 1, npusPerHost: 1 },
  training: { iterations: 10, globalBatchSize: 4, microBatchSize: 4, sequenceLength: 48, learningRate: 0.001 },
  checkpoint: { everyIterations: 5 },
  publish: { model: 'digits' },
};

function refusalsOf(document: unknown): readonly Refusal[] {
  const checked = checkSpec(document);
  return 'refusals' in checked ? checked.refusals : [];
}

describe('a spec that is right', () => {
  test('gets its defaults', () => {
    const checked = checkSpec(good);
    expect(checked).toMatchObject({
      spec: { checkpoint: { keep: 2 }, evaluation: { heldOutFraction: 0.2 }, training: { seed: 1234 } },
    });
  });

  test('is not changed by the check', () => {
    const before = structuredClone(good);
    checkSpec(good, { folder: '/somewhere' });
    expect(good).toEqual(before);
  });
});

describe('relative sources', () => {
  const withUri = (uri: string): unknown => ({ ...good, data: { source: { uri } } });

  test.each([
    ['file://./set', 'file:///specs/mine/set'],
    ['file://../set', 'file:///specs/set'],
    ['file://.', 'file:///specs/mine/'],
    ['file://./a%20b', 'file:///specs/mine/a%20b'],
    ['file:///abs/set', 'file:///abs/set'],
  ])('%s beside /specs/mine/run.yaml is %s', (uri, expected) => {
    expect(checkSpec(withUri(uri), { folder: '/specs/mine' })).toMatchObject({
      spec: { data: { source: { uri: expected } } },
    });
  });

  test('are refused where no file gives them a folder', () => {
    expect(refusalsOf(withUri('file://./set'))).toMatchObject([
      { path: 'data.source.uri', value: 'file://./set', rule: expect.stringContaining('absolute') as unknown },
    ]);
  });

  test('a host in a file address is refused, since it is nearly always a forgotten slash', () => {
    expect(refusalsOf(withUri('file://data/set')).map(({ path }) => path)).toEqual(['data.source.uri']);
  });
});

describe('refusals', () => {
  test('have path, value, rule and remedy, all at once and in order of their paths', () => {
    const found = refusalsOf({
      ...good,
      name: 'No Good',
      training: { ...good.training, iterations: 0, learningRate: 'fast' },
      publish: {},
    });
    expect(found.map(({ path }) => path)).toEqual([
      'name',
      'publish.model',
      'training.iterations',
      'training.learningRate',
    ]);
    for (const { rule, remedy } of found) {
      expect(rule).toMatch(/^must /);
      expect(remedy).toMatch(/^[A-Z].*[.?]/);
    }
  });

  test('a mistyped key is judged under the name that it meant, and the right one is not called missing', () => {
    const { learningRate: _, ...training } = good.training;
    const found = refusalsOf({ ...good, training: { ...training, learning_rate: -1 } });
    expect(found.map(({ path }) => path)).toEqual(['training.learningRate', 'training.learning_rate']);
    expect(found[1]?.remedy).toContain('learningRate');
  });

  test('a key that resembles none lists those that can stand there', () => {
    const [found] = refusalsOf({ ...good, runtime: { kind: 'cpu', xyzzy: 1 } });
    expect(found).toMatchObject({ path: 'runtime.xyzzy', value: 1 });
    expect(found?.remedy).toContain('kind');
  });

  test('rules over several fields are found although another part has an unknown key', () => {
    const found = refusalsOf({ ...good, layout: { hosts: 2, npusPerHost: 1, tensorParallel: 3, hostz: 1 } });
    expect(found.map(({ path }) => path)).toEqual(['layout.hosts', 'layout.hostz']);
  });

  test('every field of an empty document that must be given is named', () => {
    expect(refusalsOf({}).map(({ path }) => path)).toEqual(Object.keys(good).sort());
  });

  test('a password in an address is not repeated', () => {
    const [found] = refusalsOf({
      ...good,
      data: { source: { uri: 'https://me:hunter2@host/x', files: [{ path: 'a' }] } },
    });
    expect(JSON.stringify(found)).not.toContain('hunter2');
  });

  test.each(['../a', 'a/../../b', '/etc/passwd', 'a\\..\\..\\b'])(
    'a path that leaves its root is refused: %s',
    (path) => {
      const found = refusalsOf({ ...good, data: { source: { uri: 'https://host/x', files: [{ path }] } } });
      expect(found.map((one) => one.path)).toEqual(['data.source.files.0.path']);
    },
  );

  test('keys of JavaScript objects do no harm', () => {
    const document = JSON.parse('{"__proto__": {"x": 1}, "constructor": 2}') as unknown;
    expect(refusalsOf(document).map(({ path }) => path)).toEqual(expect.arrayContaining(['constructor', 'version']));
    expect(({} as Record<string, unknown>)['x']).toBeUndefined();
  });
});

describe('files', () => {
  const parse = (text: string): readonly Refusal[] => {
    const parsed = parseSpec(text, { fileName: 'run.yaml' });
    return 'refusals' in parsed ? parsed.refusals : [];
  };

  test('a syntax error names its line and column', () => {
    expect(parse('version: 1\nname: [a\n')[0]).toMatchObject({
      line: 3,
      rule: expect.stringContaining('line 3, column 1') as unknown,
    });
  });

  test('a refusal names the line of its field, a missing field that of its group', () => {
    const text = 'version: 1\ntraining:\n  iterations: 0\n';
    const found = parse(text);
    expect(found.find(({ path }) => path === 'training.iterations')?.line).toBe(3);
    expect(found.find(({ path }) => path === 'training.learningRate')?.line).toBe(3);
  });

  test.each([
    ['nothing', ''],
    ['a text', 'hello'],
    ['a list', '- 1'],
    ['null', '~'],
  ])('%s is no spec', (_, text) => {
    expect(parse(text)).toMatchObject([{ path: '' }]);
  });

  test('a document of aliases that would fill the memory is refused', () => {
    const levels = Array.from(
      { length: 12 },
      (_, level) =>
        `l${String(level)}: &l${String(level)} [${Array(10)
          .fill(level === 0 ? 'x' : `*l${String(level - 1)}`)
          .join(', ')}]`,
    );
    expect(parse(levels.join('\n')).length).toBeGreaterThan(0);
  });

  test('a file that is far too large is refused before it is parsed', () => {
    expect(parse('#'.repeat(1_000_001))).toMatchObject([{ path: '' }]);
  });
});

describe('nearest', () => {
  test.each([
    ['iteratons', 'iterations'],
    ['learning_rate', 'learningRate'],
    ['lr', undefined],
    ['', undefined],
  ])('%s means %s', (word, expected) => {
    expect(nearest(word, ['iterations', 'learningRate', 'microBatchSize'])).toBe(expected);
  });

  test.each([
    ['kitten', 'sitting', 3],
    ['', 'abc', 3],
    ['same', 'same', 0],
  ])('from %s to %s it is %d steps', (from, to, steps) => {
    expect(editDistance(from, to)).toBe(steps);
  });
});

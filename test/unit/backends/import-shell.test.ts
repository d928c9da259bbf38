/** The reader of shell scripts: words and values as bash makes them, and what it does not understand never has a value. */
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readScript } from '../../../src/backends/mindspeed/import/script.js';
import { LexError } from '../../../src/backends/mindspeed/import/shell-text.js';
import { calculate } from '../../../src/backends/mindspeed/import/calculate.js';

/** The arguments that the reader says `torchrun` gets. */
function argumentsOf(script: string): { text: string; unknown: boolean }[] {
  const { launches } = readScript(script, new Map());
  expect(launches).toHaveLength(1);
  return launches.flatMap(({ fields }) =>
    fields.map(({ text, unknown }) => ({ text, unknown: unknown !== undefined })),
  );
}

/** The arguments that bash gives it. */
function argumentsByBash(script: string): string[] {
  const output = execFileSync('bash', ['--norc', '-c', `torchrun() { printf '%s\\0' "$@"; }\n${script}`], {
    encoding: 'utf8',
    env: {},
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return output.split('\0').slice(0, -1);
}

const understood = [
  'A=1\ntorchrun --a $A ${A} "$A" \'$A\' \\$A a"$A"b',
  'ARGS="\n  --one 1 \\\n  --two \'x\' \\\n"\ntorchrun $ARGS',
  'ARGS="--one 1"\ntorchrun "$ARGS" $ARGS',
  'ARGS=(--one "a b" # why\n  --two)\ntorchrun "${ARGS[@]}" --last',
  'ARGS="--one"\nARGS+=" --two"\nLIST=(a b)\nLIST+=(c)\ntorchrun $ARGS ${LIST[@]}',
  'A=7\nB=2\nC=$(($A/$B + (A-1)*${B} % 5))\ntorchrun $C $((C - 20))',
  'A=${UNSET_HERE:-4}\ntorchrun $A ${A:-5}',
  'torchrun a#b # a comment\n# torchrun in a comment',
  'torchrun \'two\nlines\' "three\\\nhalves"',
  'export A=1 B="x y"\ntorchrun $A $B',
  'A=1; B=$A$A; torchrun $B 2>&1 >&1',
  'torchrun a\\ b c\\\nd "quo\\"te" ""',
];

describe('what it understands', () => {
  test.each(understood)('%j has the arguments that bash gives', (script) => {
    const found = argumentsOf(script);
    expect(found.filter(({ unknown }) => unknown)).toEqual([]);
    expect(found.map(({ text }) => text)).toEqual(argumentsByBash(script));
  });

  test('sums round towards zero, and what is no sum has no value', () => {
    expect([calculate('7/2'), calculate('-7/2'), calculate('2+3*4'), calculate('(2+3)*4'), calculate('7%3')]).toEqual([
      3, -3, 14, 20, 1,
    ]);
    expect([calculate('1/0'), calculate('2**3'), calculate('1 +'), calculate('(1'), calculate('a')]).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });
});

describe('what it does not understand', () => {
  test.each([
    ['A=$(nproc)\ntorchrun $A'],
    ['A=`nproc`\ntorchrun $A'],
    ['torchrun $NOBODY_SETS_THIS'],
    ['torchrun $1'],
    ['torchrun "$@"'],
    ['A=x.y\ntorchrun ${A%.*}'],
    ['A=1\nB=$(nproc)\ntorchrun $((A + B))'],
    ['A=1\nif true; then A=2; fi\ntorchrun $A'],
    ['A=1\nfor A in 1 2; do\n  echo $A\ndone\nA=$A$(nproc)\ntorchrun $A'],
    ['A=1\ntrue && A=2\ntorchrun $A'],
    ['A=1\nread A\ntorchrun $A'],
    ['A=1\nset_a() {\n  A=2\n}\ntorchrun $A'],
    ['A=1\ncase $B in x) A=2 ;; esac\ntorchrun $A'],
    ['A=1\nunset A\ntorchrun $A'],
  ])('%j leaves the argument unknown', (script) => {
    expect(argumentsOf(script).map(({ unknown }) => unknown)).toEqual([true]);
  });

  test('blocks, conditions and strange commands are listed with their lines', () => {
    const script = [
      'if [ -d x ]; then',
      '  rm -rf x',
      'fi',
      'ls || exit 1',
      'eval "$X"',
      'source other.sh',
      '( cd /tmp )',
      'cat <<EOF',
      'A=1',
      'EOF',
      'torchrun x',
    ].join('\n');
    const { remarks } = readScript(script, new Map());
    expect(
      remarks
        .filter(({ verdict }) => verdict === 'not understood')
        .map(({ line, lastLine, source }) => [line, lastLine, source]),
    ).toEqual([
      [1, 3, 'if [ -d x ] then rm -rf x fi'],
      [4, 4, '|| exit 1'],
      [5, 5, 'eval "$X"'],
      [6, 6, 'source other.sh'],
      [7, 7, '( cd /tmp )'],
    ]);
  });

  test('a given value stands only where the script makes its own by a command', () => {
    const given = new Map([
      ['A', '4'],
      ['B', '9'],
    ]);
    const { launches } = readScript('A=$(wc -l < f)\nB=2\ntorchrun $A $B', given);
    expect(launches[0]?.fields.map(({ text }) => text)).toEqual(['4', '2']);
  });

  test('nothing of a script is run', () => {
    const before = readdirSync('.').sort();
    readScript('touch made-by-import\nA=$(touch made-by-import)\nB=`touch made-by-import`\ntorchrun $A $B', new Map());
    expect(readdirSync('.').sort()).toEqual(before);
  });
});

describe('a script that ends too early', () => {
  test.each([
    ['A="x', 'quote', 1],
    ["\nA='x", 'quote', 2],
    ['A=$(x', 'bracket', 1],
    ['A=(x', 'list', 1],
    ['cat <<END\nx', 'no line is "END"', 2],
  ])('%j is refused with its line', (script, message, line) => {
    expect(() => readScript(script, new Map())).toThrow(
      expect.objectContaining({ message: expect.stringContaining(message) as unknown, line }) as Error,
    );
  });
});

describe('any text', () => {
  const pieces = fc.constantFrom(
    ...[
      'A=',
      'A',
      '$A',
      '${A}',
      '${',
      '}',
      '$(',
      '$((',
      '))',
      ')',
      '(',
      '`',
      '"',
      "'",
      '\\',
      '\n',
      '\\\n',
      ' ',
      '\t',
      '\r',
      '\u00a0',
      '#',
      ';',
      '&&',
    ],
    ...[
      '||',
      '|',
      '&',
      '<<E',
      '<',
      '>',
      '2>&1',
      '<(',
      'E',
      'if ',
      'then',
      'fi',
      'case ',
      'esac',
      'for',
      'do',
      'done',
      '{',
      'torchrun ',
      'export ',
      '+',
      '1',
    ],
  );

  test('is read to its end or refused with a line that it has; the reader never fails and never hangs', () => {
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 40 }), (parts) => {
        const script = parts.join('');
        try {
          readScript(script, new Map());
        } catch (error) {
          expect(error).toBeInstanceOf(LexError);
          expect((error as LexError).line).toBeLessThanOrEqual(script.split('\n').length);
        }
      }),
      { numRuns: 3000 },
    );
  });

  test('plain words, however they are quoted and split, are those of bash', () => {
    const word = fc.constantFrom(
      'a',
      '"b c"',
      "'d e'",
      '$A',
      '"$A"',
      '${B}',
      '"${B} x"',
      'f\\ g',
      '$((N+1))',
      'h"i"\'j\'',
      '\\\n',
      '""',
    );
    fc.assert(
      fc.property(fc.array(word, { maxLength: 8 }), (words) => {
        const script = `A='x y'\nB="\n  p \\\n  q\n"\nN=4\ntorchrun ${words.join(' ')} end`;
        expect(argumentsOf(script).map(({ text }) => text)).toEqual(argumentsByBash(script));
      }),
      { numRuns: 60 },
    );
  });
});

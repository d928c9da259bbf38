/** What words become: variables, sums and word splitting as bash does them; what would have to be run stays unknown, with its reason. */
import { calculate } from './calculate.js';
import type { Part, Word } from './shell-lexer.js';

export interface Variable {
  readonly name: string;
  readonly line: number;
  /** Of a string one, of a list one for each word. */
  readonly words: readonly Piece[][];
}

/** A piece of text, or something unknown in its place. */
interface Piece {
  readonly text: string;
  readonly line: number;
  readonly quoted: boolean;
  readonly unknown?: Unknown;
  readonly from: readonly Variable[];
}

export interface Unknown {
  readonly why: string;
  /** The variable that nobody here knows the value of. */
  readonly name?: string;
}

/** One argument of a command. */
export interface Field {
  readonly text: string;
  readonly line: number;
  readonly unknown?: Unknown;
  /** The variables that it was made of. */
  readonly from: readonly Variable[];
}

export class Variables {
  readonly #values = new Map<string, Variable>();
  readonly #given: ReadonlyMap<string, string>;

  /** `given` are values of variables that the script makes by a command. */
  constructor(given: ReadonlyMap<string, string>) {
    this.#given = given;
  }

  /** `words` of a list, or one word; `append` for `NAME+=`. */
  assign(
    name: string,
    line: number,
    words: readonly Word[],
    { append, list }: { append: boolean; list: boolean },
  ): Variable {
    const before = append ? (this.#values.get(name)?.words ?? []) : [];
    const added = words.map((word) => this.#pieces(word, name));
    const joined = list ? [...before, ...added] : [[...before.flat(), ...added.flat()]];
    const given = this.#given.get(name);
    const isKnown = joined.flat().every(({ unknown }) => unknown === undefined);
    const variable: Variable = {
      name,
      line,
      words: given === undefined || isKnown ? joined : [[{ text: given, line, quoted: true, from: [] }]],
    };
    this.#values.set(name, variable);
    return variable;
  }

  /** From here on nobody can tell what it holds. */
  forget(name: string, line: number, why: string): void {
    const piece: Piece = { text: '', line, quoted: true, from: [], unknown: { why, name } };
    this.#values.set(name, { name, line, words: [[piece]] });
  }

  /** The arguments that words become. */
  fields(words: readonly Word[]): readonly Field[] {
    return words.flatMap((word) => this.#split(word));
  }

  #split(word: Word): readonly Field[] {
    const [only] = word.parts;
    // "${LIST[@]}" and $LIST: each word of a list is an argument of its own.
    const list = word.parts.length <= 2 && word.parts.every(isEmptyOrVariable) ? this.#listOf(word) : undefined;
    if (list !== undefined) return list.map((pieces) => toField(pieces, only?.line ?? word.line));
    const fields: Piece[][] = [];
    let open: Piece[] | undefined;
    for (const piece of this.#pieces(word)) {
      const texts = piece.quoted || piece.unknown !== undefined ? [piece.text] : piece.text.split(/(\s+)/);
      for (const [index, text] of texts.entries()) {
        if (index % 2 === 1) open = undefined;
        else if (text !== '' || piece.quoted || piece.unknown !== undefined) {
          if (open === undefined) fields.push((open = []));
          open.push({ ...piece, text });
        }
      }
    }
    return fields.map((pieces) => toField(pieces, word.line));
  }

  #listOf(word: Word): readonly Piece[][] | undefined {
    const variable = word.parts.find((part) => part.kind === 'variable');
    const words = variable === undefined ? undefined : this.#values.get(variable.name);
    return words === undefined || words.words.length < 2
      ? undefined
      : words.words.map((pieces) => pieces.map((piece) => ({ ...piece, from: [...piece.from, words] })));
  }

  #pieces(word: Word, assigned?: string): Piece[] {
    return word.parts.flatMap((part) => this.#expand(part, assigned));
  }

  #expand(part: Part, assigned: string | undefined): readonly Piece[] {
    const { line, quoted } = part;
    const piece = (text: string, unknown?: Unknown, from: readonly Variable[] = []): Piece =>
      unknown === undefined ? { text, line, quoted, from } : { text, line, quoted, from, unknown };
    const owner = assigned === undefined ? {} : { name: assigned };
    switch (part.kind) {
      case 'text':
        return [piece(part.text)];
      case 'unknown':
        return [piece(part.source, { why: `is made by ${part.source}, which is not run`, ...owner })];
      case 'sum':
        return [this.#sum(part.expression, piece, owner)];
      case 'variable': {
        const value = this.#values.get(part.name);
        if (value === undefined)
          return [
            part.otherwise === undefined
              ? piece(`$${part.name}`, { why: `is $${part.name}, which the script sets nowhere`, name: part.name })
              : piece(part.otherwise),
          ];
        const pieces = value.words.flat();
        // A list of arguments keeps the lines on which they stand; a plain value stands where it is used.
        const isLong = pieces.some(({ text, unknown }) => unknown === undefined && /\s/.test(text));
        return pieces.map((one) => ({
          ...one,
          line: isLong ? one.line : line,
          quoted,
          from: [...one.from, value],
        }));
      }
    }
  }

  #sum(
    expression: string,
    piece: (text: string, unknown?: Unknown, from?: readonly Variable[]) => Piece,
    owner: { readonly name?: string },
  ): Piece {
    const from: Variable[] = [];
    let unknown: Unknown | undefined;
    const numbers = expression.replaceAll(/\$\{(\w+)\}|\$?([A-Za-z_]\w*)/g, (_, braced?: string, bare?: string) => {
      const name = braced ?? bare ?? '';
      const value = this.#values.get(name);
      const pieces = value?.words.flat() ?? [];
      if (value !== undefined) from.push(value, ...pieces.flatMap((one) => one.from));
      unknown ??= pieces.find((one) => one.unknown !== undefined)?.unknown;
      const text = pieces.map((one) => one.text).join('');
      if (value === undefined) unknown ??= { why: `needs ${name}, which the script sets nowhere`, name };
      return text === '' ? '?' : text;
    });
    if (unknown !== undefined) return piece(`$((${expression}))`, unknown, from);
    const result = calculate(numbers);
    return result === undefined
      ? piece(`$((${expression}))`, { why: `is the sum ${expression}, which this reader cannot do`, ...owner }, from)
      : piece(String(result), undefined, from);
  }
}

function isEmptyOrVariable(part: Part): boolean {
  return part.kind === 'variable' || (part.kind === 'text' && part.text === '');
}

function toField(pieces: readonly Piece[], line: number): Field {
  const from = [...new Set(pieces.flatMap((piece) => piece.from))];
  const unknown = pieces.find((piece) => piece.unknown !== undefined)?.unknown;
  const first = pieces.find(({ text }) => text !== '');
  const field = { text: pieces.map(({ text }) => text).join(''), line: first?.line ?? line, from };
  return unknown === undefined ? field : { ...field, unknown };
}

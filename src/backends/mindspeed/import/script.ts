/** Goes through a script as bash would, without running any of it: variables, exports, and the one line that starts the training. */
import { plainText, readStatements, type Statement, type Word } from './shell-lexer.js';
import { openBlocks, startsBlock } from './shell-blocks.js';
import { type Field, type Variable, Variables } from './shell-values.js';

export interface Assignment {
  readonly line: number;
  readonly lastLine: number;
  readonly variable: Variable;
  readonly source: string;
  /** The command that it stands before sees it, and so does every later one when it is exported. */
  readonly exported: boolean;
  readonly value: Field;
}

/** A line that makes no argument of the training. */
export interface Remark {
  readonly line: number;
  readonly lastLine: number;
  readonly source: string;
  readonly verdict: 'dropped' | 'not understood';
  readonly why: string;
}

export interface Launch {
  readonly line: number;
  /** What follows `torchrun`. */
  readonly fields: readonly Field[];
}

export interface Script {
  readonly assignments: readonly Assignment[];
  readonly remarks: readonly Remark[];
  readonly launches: readonly Launch[];
}

const ASSIGNMENT = /^([A-Za-z_]\w*)(\+?)=/;
/** They look after the script's own files and its screen. */
const HARMLESS = [
  'echo',
  'printf',
  'mkdir',
  'touch',
  'chmod',
  'chown',
  'find',
  'ls',
  'cat',
  'date',
  'tee',
  'wait',
  'true',
  ':',
  'set',
  'shopt',
  'sleep',
];

/** `given` are values of variables that the script makes by commands. Throws `LexError`. */
export function readScript(text: string, given: ReadonlyMap<string, string>): Script {
  return new Reader(given).read(readStatements(text));
}

class Reader {
  readonly #variables: Variables;
  readonly #assignments: Assignment[] = [];
  readonly #remarks: Remark[] = [];
  readonly #launches: Launch[] = [];
  readonly #exported = new Set<string>();

  constructor(given: ReadonlyMap<string, string>) {
    this.#variables = new Variables(given);
  }

  read(statements: readonly Statement[]): Script {
    for (let at = 0; at < statements.length; at += 1) {
      const pipeline = [statements[at] as Statement];
      while (statements[at + 1]?.joined === '|') pipeline.push(statements[++at] as Statement);
      const block: Statement[] = [...pipeline];
      let open = openBlocks([], pipeline);
      while (open.length > 0 && at + 1 < statements.length) {
        const next = statements[++at] as Statement;
        block.push(next);
        open = openBlocks(open, [next]);
      }
      if (block.length > pipeline.length || startsBlock(pipeline[0]))
        this.#leaveOut(block, 'A block: which of its lines run is only known while it runs.');
      else this.#readPipeline(pipeline);
    }
    return {
      assignments: this.#assignments.map((one) => ({
        ...one,
        exported: one.exported || this.#exported.has(one.variable.name),
      })),
      remarks: this.#remarks,
      launches: this.#launches,
    };
  }

  #readPipeline(pipeline: readonly Statement[]): void {
    const [first] = pipeline;
    if (first === undefined) return;
    if (first.joined !== '') {
      this.#leaveOut(pipeline, `It runs only as the command before "${first.joined}" decides.`);
      return;
    }
    const { words } = first;
    const names = words.findIndex((word) => assignedName(word) === undefined);
    const assigned = names < 0 ? words : words.slice(0, names);
    const command = names < 0 ? [] : words.slice(names);
    if (command.length === 0 && pipeline.length === 1) {
      this.#assign(first, assigned, false);
      return;
    }
    const name = programOf(command);
    if (name === 'export' && pipeline.length === 1) {
      this.#export(first, command.slice(1));
      return;
    }
    const launch = launchArguments(command);
    if (launch !== undefined) {
      this.#assign(first, assigned, true);
      this.#launches.push({ line: first.line, fields: this.#variables.fields(launch) });
      if (pipeline.length > 1)
        this.#remark([...pipeline.slice(1)], 'dropped', 'What the trainer prints is kept in the store: anneal logs.');
      return;
    }
    if (name === 'source' || name === '.') {
      /set_env\.sh$/.test(plainText(command[1]) ?? '')
        ? this.#remark(
            pipeline,
            'dropped',
            "CANN's environment belongs to the service of the host's agent: see infra/ascend.",
          )
        : this.#leaveOut(pipeline, 'Another file, and what it sets is not known here.');
      return;
    }
    if (pipeline.every(({ words: [program] }) => HARMLESS.includes(plainText(program) ?? ''))) {
      this.#remark(pipeline, 'dropped', "For the script's own screen, logs and files; Anneal has its own.");
      return;
    }
    this.#leaveOut(pipeline, 'A command that this reader does not know; it was not run.');
  }

  #export(statement: Statement, words: readonly Word[]): void {
    const [first] = words;
    if (first === undefined || plainText(first)?.startsWith('-') === true) {
      this.#leaveOut([statement], 'An export in a form that this reader does not know.');
      return;
    }
    for (const word of words) if (assignedName(word) === undefined) this.#exported.add(plainText(word) ?? '');
    this.#assign(
      statement,
      words.filter((word) => assignedName(word) !== undefined),
      true,
    );
  }

  #assign(statement: Statement, words: readonly Word[], exported: boolean): void {
    for (const word of words) {
      const { name = '', append = false } = assignedName(word) ?? {};
      const variable = this.#variables.assign(name, word.line, word.list ?? [withoutName(word)], {
        append,
        list: word.list !== undefined,
      });
      const [value = { text: '', line: word.line, from: [] }] = this.#variables.fields([
        { line: word.line, parts: [{ kind: 'variable', name, line: word.line, quoted: true }] },
      ]);
      const { line, lastLine, source } = statement;
      this.#assignments.push({ line, lastLine, source, variable, exported, value });
    }
  }

  /** Not understood: it is listed, and what it may set is unknown from here on. */
  #leaveOut(statements: readonly Statement[], why: string): void {
    const line = statements[0]?.line ?? 0;
    for (const { words } of statements)
      for (const word of words) {
        const name = assignedName(word)?.name ?? (isSetter(words) ? plainText(word) : undefined);
        if (name !== undefined)
          this.#variables.forget(
            name,
            word.line,
            `is set on line ${String(line)} by what this reader does not understand`,
          );
      }
    this.#remark(statements, 'not understood', why);
  }

  #remark(statements: readonly Statement[], verdict: Remark['verdict'], why: string): void {
    const [first] = statements;
    if (first === undefined) return;
    const lastLine = statements.at(-1)?.lastLine ?? first.lastLine;
    const source = statements.map((one) => (one.joined !== '' ? `${one.joined} ` : '') + one.source).join(' ');
    this.#remarks.push({ line: first.line, lastLine, source, verdict, why });
  }
}

/** `read NAME`, `unset NAME`, `declare NAME=…`: their operands are names. */
function isSetter(words: readonly Word[]): boolean {
  return ['read', 'unset', 'declare', 'typeset', 'local', 'readonly', 'let', 'mapfile', 'readarray'].includes(
    plainText(words[0]) ?? '',
  );
}

function assignedName(word: Word): { name: string; append: boolean } | undefined {
  const [first] = word.parts;
  const match = first?.kind === 'text' && !first.quoted ? ASSIGNMENT.exec(first.text) : null;
  return match === null ? undefined : { name: match[1] ?? '', append: match[2] === '+' };
}

function withoutName(word: Word): Word {
  const [first, ...rest] = word.parts;
  if (first?.kind !== 'text') return word;
  return { ...word, parts: [{ ...first, text: first.text.replace(ASSIGNMENT, ''), quoted: true }, ...rest] };
}

function programOf(words: readonly Word[]): string {
  return (plainText(words[0]) ?? '').replace(/^.*\//, '');
}

/** What follows `torchrun` or `python -m torch.distributed.run`; undefined for any other command. */
function launchArguments(words: readonly Word[]): readonly Word[] | undefined {
  const name = programOf(words);
  if (name === 'nohup' || name === 'exec') return launchArguments(words.slice(1));
  if (name === 'torchrun') return words.slice(1);
  const module = plainText(words[1]) === '-m' ? (plainText(words[2]) ?? '') : '';
  const isModule = /^torch\.distributed\.(run|launch)$/.test(module);
  return /^python[\d.]*$/.test(name) && isModule ? words.slice(3) : undefined;
}

/** Goes through a script as bash would, without running any of it: variables, exports, and the one line that starts the training. */
import { plainText, readStatements, type Statement, type Word } from './shell-lexer.js';
import { openBlocks, startsBlock } from './shell-blocks.js';
import { assignedName, isSetter, launchArguments, programOf, withoutName } from './shell-words.js';
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
    if (launch === undefined) {
      const { verdict, why } = judge(name, pipeline, command);
      if (verdict === 'dropped') this.#remark(pipeline, verdict, why);
      else this.#leaveOut(pipeline, why);
      return;
    }
    // Bash expands the arguments before it sets what stands before the command.
    this.#launches.push({ line: first.line, fields: this.#variables.fields(launch) });
    this.#assign(first, assigned, true);
    this.#remark(pipeline.slice(1), 'dropped', 'What the trainer prints is kept in the store: anneal logs.');
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

/** What a line is worth that neither sets a variable nor starts the training. */
function judge(
  name: string,
  pipeline: readonly Statement[],
  command: readonly Word[],
): Pick<Remark, 'verdict' | 'why'> {
  if (name === 'source' || name === '.')
    return /set_env\.sh$/.test(plainText(command[1]) ?? '')
      ? {
          verdict: 'dropped',
          why: "Each agent reads CANN's environment once: ascend.setEnv in its settings.",
        }
      : { verdict: 'not understood', why: 'Another file, and what it sets is not known here.' };
  return pipeline.every(({ words: [program] }) => HARMLESS.includes(plainText(program) ?? ''))
    ? { verdict: 'dropped', why: "For the script's own screen, logs and files; Anneal has its own." }
    : { verdict: 'not understood', why: 'A command that this reader does not know; it was not run.' };
}

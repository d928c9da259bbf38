/** A bash script as statements and words with their lines. It is only ever read: what would have to be run stays text. */
import { LexError, ShellText } from './shell-text.js';

export type Part = { readonly line: number; readonly quoted: boolean } & (
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'variable'; readonly name: string; readonly otherwise?: string }
  | { readonly kind: 'sum'; readonly expression: string }
  /** A command substitution, or any expansion that this reader does not know. */
  | { readonly kind: 'unknown'; readonly source: string }
);

export interface Word {
  readonly line: number;
  readonly parts: readonly Part[];
  /** `NAME=( … )` */
  readonly list?: readonly Word[];
}

export interface Statement {
  readonly line: number;
  readonly lastLine: number;
  readonly source: string;
  readonly words: readonly Word[];
  /** What stands between it and the statement before it; empty after a line end or a semicolon. */
  readonly joined: '' | '&&' | '||' | '|';
}

/** The text of a word that needs no expansion; undefined for any other. */
export function plainText(word: Word | undefined): string | undefined {
  if (word === undefined || word.list !== undefined) return undefined;
  const texts = word.parts.map((part) => (part.kind === 'text' ? part.text : undefined));
  return texts.includes(undefined) ? undefined : texts.join('');
}

const REDIRECTION = /(?:\d*(?:<<<|<<-?|>>|>&|<&|<>|>\||[<>])|&>>?)/y;
const OPERATOR = /&&|\|\||\|&|;;|[\n;&|]/y;

/** Throws `LexError` where a quote or a bracket has no end. */
export function readStatements(script: string): readonly Statement[] {
  const text = new ShellText(script);
  const statements: Statement[] = [];
  const hereDocuments: string[] = [];
  let words: Word[] = [];
  let joined: Statement['joined'] = '';
  let from = { at: 0, line: 1 };
  const finish = (next: Statement['joined']): void => {
    const source = text.since(from.at).trim();
    if (words.length > 0)
      statements.push({ line: from.line, lastLine: lastLineOf(from.line, source), source, words, joined });
    words = [];
    joined = next;
  };
  for (;;) {
    text.skipBlanks();
    if (words.length === 0) from = { at: text.at, line: text.line };
    if (text.ended) break;
    const redirection = text.match(REDIRECTION);
    if (redirection !== undefined) {
      text.skipBlanks();
      const target = text.peek() === '(' ? undefined : text.source(() => readWord(text));
      if (/<<-?$/.test(redirection) && target !== undefined) hereDocuments.push(target.replaceAll(/['"\\]/g, ''));
      if (target === undefined) text.skipBrackets();
      continue;
    }
    const operator = text.peekMatch(OPERATOR);
    if (operator !== undefined) {
      finish(operator === '&&' || operator === '||' ? operator : operator.startsWith('|') ? '|' : '');
      text.match(OPERATOR);
      if (operator === '\n') for (const tag of hereDocuments.splice(0)) text.skipHereDocument(tag);
      continue;
    }
    words.push(readWord(text));
  }
  finish('');
  return statements;
}

function lastLineOf(line: number, source: string): number {
  return line + source.split('\n').length - 1;
}

function readWord(text: ShellText): Word {
  const line = text.line;
  const bracket = text.match(/[()]/y);
  if (bracket !== undefined) return { line, parts: [{ kind: 'text', text: bracket, line, quoted: false }] };
  const parts: Part[] = [];
  while (!text.ended && !/[ \t\n;&|<>()]/.test(text.peek())) readPiece(text, parts);
  const [first] = parts;
  const isName = parts.length === 1 && first?.kind === 'text' && /^[A-Za-z_]\w*\+?=$/.test(first.text);
  return isName && text.peek() === '(' ? { line, parts, list: readList(text) } : { line, parts };
}

function readList(text: ShellText): readonly Word[] {
  const { line } = text;
  const words: Word[] = [];
  text.match(/\(/y);
  for (;;) {
    text.skipBlanks();
    if (text.match(/\n/y) !== undefined) continue;
    if (text.ended) throw new LexError(line, 'the list that begins here has no end');
    if (text.match(/\)/y) !== undefined) return words;
    words.push(readWord(text));
    if (/[;&|<>(]/.test(text.peek())) throw new LexError(text.line, 'a list may hold words only');
  }
}

/** One quoted or unquoted piece of a word. Pieces of several lines are cut at the line ends, so that each knows its own. */
function readPiece(text: ShellText, parts: Part[]): void {
  const { line } = text;
  const literal = text.match(/[^ \t\n;&|<>()'"`\\$]+/y);
  if (literal !== undefined) {
    parts.push({ kind: 'text', text: literal, line, quoted: false });
  } else if (text.match(/\\\n/y) === undefined) {
    // A backslash that ends the script stands for itself.
    const escaped = text.match(/\\(?:[^\n]|$)/y);
    if (escaped !== undefined) parts.push({ kind: 'text', text: escaped.slice(1), line, quoted: true });
    else if (text.peek() === "'") addLines(parts, text.until("'"), line);
    else if (text.peek() === '"') readDoubleQuotes(text, parts);
    else parts.push(readExpansion(text, false));
  }
}

function addLines(parts: Part[], content: string, line: number): void {
  for (const [index, piece] of content.split(/(?<=\n)/).entries())
    parts.push({ kind: 'text', text: piece, line: line + index, quoted: true });
}

function readDoubleQuotes(text: ShellText, parts: Part[]): void {
  const begin = text.line;
  text.match(/"/y);
  parts.push({ kind: 'text', text: '', line: begin, quoted: true });
  while (text.peek() !== '"') {
    if (text.ended) throw new LexError(begin, 'the quote that begins here has no end');
    const { line } = text;
    if (text.match(/\\\n/y) !== undefined) continue;
    const escaped = text.match(/\\[$`"\\]/y);
    const literal = escaped?.slice(1) ?? text.match(/(?:\n|[^"`\\$\n]+|\\)/y);
    if (literal !== undefined) parts.push({ kind: 'text', text: literal, line, quoted: true });
    else parts.push(readExpansion(text, true));
  }
  text.match(/"/y);
}

/** At `$` or a backtick. */
function readExpansion(text: ShellText, quoted: boolean): Part {
  const { line } = text;
  const unknown = (source: string): Part => ({ kind: 'unknown', source, line, quoted });
  if (text.peek() === '`') return unknown(`\`${text.until('`')}\``);
  const name = text.match(/\$[A-Za-z_]\w*/y);
  if (name !== undefined) return { kind: 'variable', name: name.slice(1), line, quoted };
  if (text.peekMatch(/\$\(/y) !== undefined) {
    const source = text.source(() => {
      text.match(/\$/y);
      text.skipBrackets();
    });
    const sum = /^\$\(\(([^()]*(?:\([^()]*\)[^()]*)*)\)\)$/s.exec(source)?.[1];
    return sum === undefined ? unknown(source) : { kind: 'sum', expression: sum, line, quoted };
  }
  const braces = text.match(/\$\{[^{}]*\}/y);
  if (braces !== undefined) {
    const [, inner = '', otherwise] = /^\$\{(\w+)(?:\[[@*]\]|:?-([^$`'"\\]*))?\}$/.exec(braces) ?? [];
    if (!/^[A-Za-z_]/.test(inner)) return unknown(braces);
    return { kind: 'variable', name: inner, line, quoted, ...(otherwise === undefined ? {} : { otherwise }) };
  }
  const special = text.match(/\$(?:[\d@*#?$!-]|'[^']*'|\{)/y);
  if (special !== undefined) return unknown(special);
  text.match(/\$/y);
  return { kind: 'text', text: '$', line, quoted: true };
}

/** A script as a text with a place in it, which counts its lines. */

/** The script ends inside of something: no word after it can be trusted. */
export class LexError extends Error {
  override readonly name = 'LexError';
  readonly line: number;
  constructor(line: number, message: string) {
    super(message);
    this.line = line;
  }
}

export class ShellText {
  readonly #text: string;
  at = 0;
  line = 1;

  constructor(text: string) {
    this.#text = text.replaceAll('\r\n', '\n');
  }

  get ended(): boolean {
    return this.at >= this.#text.length;
  }

  peek(): string {
    return this.#text[this.at] ?? '';
  }

  since(at: number): string {
    return this.#text.slice(at, this.at);
  }

  /** What a sticky pattern matches here, without going on. */
  peekMatch(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.at;
    return pattern.exec(this.#text)?.[0];
  }

  /** What a sticky pattern matches here; goes on behind it. */
  match(pattern: RegExp): string | undefined {
    const found = this.peekMatch(pattern);
    if (found !== undefined) this.#goOn(found.length);
    return found;
  }

  /** The text that an action goes over. */
  source(action: () => unknown): string {
    const begin = this.at;
    action();
    return this.since(begin);
  }

  /** Blanks, continued lines, and a comment, which begins where a word could. */
  skipBlanks(): void {
    this.match(/(?:[ \t]|\\\n)*(?:#[^\n]*)?/y);
  }

  /** At a quote character: what stands up to the same one, which ends it; a backslash hides one from it except in single quotes. */
  until(quote: string): string {
    const begin = { line: this.line, at: this.at + 1 };
    this.#goOn(1);
    while (this.peek() !== quote) {
      if (this.ended) throw new LexError(begin.line, 'the quote that begins here has no end');
      this.#goOn(this.peek() === '\\' && quote !== "'" ? 2 : 1);
    }
    const content = this.since(begin.at);
    this.#goOn(1);
    return content;
  }

  /** At `(`: over everything up to its `)`, where brackets in quotes do not count. */
  skipBrackets(): void {
    const begin = this.line;
    let depth = 0;
    do {
      const next = this.peek();
      if (next === '') throw new LexError(begin, 'the bracket that begins here has no end');
      if (next === "'" || next === '`' || next === '"') this.until(next);
      else this.#goOn(next === '\\' ? 2 : 1);
      if (next === '(') depth += 1;
      if (next === ')') depth -= 1;
    } while (depth > 0);
  }

  skipHereDocument(tag: string): void {
    const begin = this.line;
    for (;;) {
      if (this.ended) throw new LexError(begin, `the text that begins here has no end: no line is "${tag}"`);
      if (this.match(/[^\n]*\n?/y)?.trim() === tag) return;
    }
  }

  #goOn(length: number): void {
    const end = Math.min(this.at + length, this.#text.length);
    for (; this.at < end; this.at += 1) if (this.#text[this.at] === '\n') this.line += 1;
  }
}

/** Where a block of a script (if, loop, case, function, subshell) begins and where it ends; what is in it is not judged. */
import { plainText, type Statement } from './shell-lexer.js';

const CLOSERS: Readonly<Record<string, string>> = {
  ...{ if: 'fi', for: 'done', while: 'done', until: 'done', select: 'done', case: 'esac' },
  ...{ '{': '}', '(': ')' },
};
const KEYWORDS = ['then', 'else', 'elif', 'do', '!', 'time'];

export function startsBlock(statement: Statement | undefined): boolean {
  return openBlocks([], statement === undefined ? [] : [statement], true).length > 0;
}

/** What would close the blocks that are open behind these statements; `everOpened` tells also of one that is closed again. */
export function openBlocks(
  before: readonly string[],
  statements: readonly Statement[],
  everOpened = false,
): readonly string[] {
  const open = [...before];
  const ever: string[] = [];
  for (const { words } of statements) {
    const texts = words.map((word) => (word.parts.every(({ quoted }) => !quoted) ? (plainText(word) ?? '') : ''));
    const command = texts.findIndex((text) => !KEYWORDS.includes(text));
    for (const [index, text] of texts.entries()) {
      const closer = CLOSERS[text];
      const isAnywhere = ['{', '(', '}', ')'].includes(text);
      if (open.at(-1) === text && (isAnywhere || index <= command)) open.pop();
      else if (closer !== undefined && (isAnywhere || index === command || text === 'function')) {
        open.push(closer);
        ever.push(closer);
      }
    }
  }
  return everOpened ? ever : open;
}

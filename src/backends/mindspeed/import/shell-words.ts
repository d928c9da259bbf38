/** What the words of a command say: names that it sets, the program, and what follows a launcher. */
import { plainText, type Word } from './shell-lexer.js';

const ASSIGNMENT = /^([A-Za-z_]\w*)(\+?)=/;

/** `read NAME`, `unset NAME`, `declare NAME=…`: their operands are names. */
export function isSetter(words: readonly Word[]): boolean {
  return ['read', 'unset', 'declare', 'typeset', 'local', 'readonly', 'let', 'mapfile', 'readarray'].includes(
    plainText(words[0]) ?? '',
  );
}

export function assignedName(word: Word): { name: string; append: boolean } | undefined {
  const [first] = word.parts;
  const match = first?.kind === 'text' && !first.quoted ? ASSIGNMENT.exec(first.text) : null;
  return match === null ? undefined : { name: match[1] ?? '', append: match[2] === '+' };
}

export function withoutName(word: Word): Word {
  const [first, ...rest] = word.parts;
  if (first?.kind !== 'text') return word;
  return { ...word, parts: [{ ...first, text: first.text.replace(ASSIGNMENT, ''), quoted: true }, ...rest] };
}

export function programOf(words: readonly Word[]): string {
  return (plainText(words[0]) ?? '').replace(/^.*\//, '');
}

/** What follows `torchrun` or `python -m torch.distributed.run`; undefined for any other command. */
export function launchArguments(words: readonly Word[]): readonly Word[] | undefined {
  const name = programOf(words);
  if (name === 'nohup' || name === 'exec') return launchArguments(words.slice(1));
  if (name === 'torchrun') return words.slice(1);
  const module = plainText(words[1]) === '-m' ? (plainText(words[2]) ?? '') : '';
  const isModule = /^torch\.distributed\.(run|launch)$/.test(module);
  return /^python[\d.]*$/.test(name) && isModule ? words.slice(3) : undefined;
}

/** Foreign text (a trainer's last words, a host's name) as one line that neither a terminal nor a page can be led astray by. */

/** Line ends, escapes and other control characters, those that turn the direction of text or cannot be seen, halves of characters. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]+/gu;

/** Cut to `length` characters, of which none is cut in two. */
export function oneLine(text: string, length: number): string {
  const signs = Array.from(text.replaceAll(UNPRINTABLE, ' ').replaceAll(/ {2,}/g, ' ').trim());
  return signs.length <= length ? signs.join('') : `${signs.slice(0, length - 1).join('')}…`;
}

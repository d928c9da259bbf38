/** Words and bars for pages of the Temporal UI, which renders Markdown with some HTML: foreign text is made harmless here, and only here. */
import { oneLine } from '../plan/one-line.js';

const BAR = 20;

/** Twenty characters that read as a bar; the UI shows them best in code. */
export function bar(done: number, total: number): string {
  const filled = total === 0 ? 0 : Math.max(0, Math.min(BAR, Math.floor((BAR * done) / total)));
  return `${'█'.repeat(filled)}${'░'.repeat(BAR - filled)}`;
}

const LOOK_ALIKE: Readonly<Record<string, string>> = { '`': "'", '<': '‹', '>': '›', '&': '＆' };

/** Foreign text for one line of a code block: it can neither end the block nor be read as a tag or an entity. */
export function harmless(text: string, length = 160): string {
  return oneLine(text, length).replaceAll(/[`<>&]/g, (sign) => LOOK_ALIKE[sign] ?? '');
}

/** Lines in a block of their own. No line of ours begins with a fence, and `harmless` leaves none in foreign text. */
export function block(lines: readonly string[]): string {
  return ['```', ...lines, '```'].join('\n');
}

/** At most so many names on a line; a gang may have a thousand hosts. */
const NAMES = 8;

export function names(hosts: readonly string[]): string {
  const shown = hosts.slice(0, NAMES).map((host) => harmless(host, 64));
  const more = hosts.length - shown.length;
  return more > 0 ? `${shown.join(', ')} and ${String(more)} more` : shown.join(', ');
}

/** `16:25:10`; pages say once that times are UTC. */
export function clock(epochMs: number): string {
  return new Date(epochMs).toISOString().slice(11, 19);
}

/** What a host says of itself, or why that could not be read: what has an unknown form is never guessed at. */

export type Reading<T> = { readonly value: T } | Unread;

export interface Unread {
  readonly unread: string;
  /** It was not asked, since the look had taken its time: nothing speaks against the host. */
  readonly isLate?: true;
}

/** Thrown by parsers for a form that they do not know. */
export class Unreadable extends Error {
  override readonly name = 'Unreadable';
}

/** Runs a parser; `what` names the command or file whose text it reads. */
export function reading<T>(what: string, parse: () => T): Reading<T> {
  try {
    return { value: parse() };
  } catch (error) {
    if (error instanceof Unreadable) return { unread: `${what}: ${error.message}` };
    throw error;
  }
}

export function valueOf<T>(read: Reading<T>): T | undefined {
  return 'value' in read ? read.value : undefined;
}

/** A number without sign, or a refusal that quotes what stands there instead. */
export function wholeNumber(text: string | undefined, what: string): number {
  if (text === undefined || !/^\d+$/.test(text)) throw new Unreadable(`${what} is ${quote(text ?? '')}, no number`);
  return Number(text);
}

export function quote(text: string): string {
  return JSON.stringify(text.length <= 160 ? text : `${text.slice(0, 157)}...`);
}

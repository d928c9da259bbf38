/** How the commands write: text for people, JSON for programs. */

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

/** One event or row a line, so that `jq` and `head` can read while it still runs. */
export function printJsonLine(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** What is not the answer itself (hints, warnings), kept out of pipes. */
export function note(text: string): void {
  process.stderr.write(`${text}\n`);
}

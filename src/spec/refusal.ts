/** A refusal: what in a spec cannot work, in the four parts that a user needs to put it right. */
export interface Refusal {
  /** Dotted path of the field, e.g. `layout.distTrain.vision.npus`; empty for the document as a whole. */
  readonly path: string;
  readonly value: unknown;
  /** What must hold, as the end of the sentence "<path> ...": "must be at least 1". */
  readonly rule: string;
  /** What to do about it, a whole sentence. */
  readonly remedy: string;
  /** Where the field stands in the file, counted from 1; left out where no file was read. */
  readonly line?: number;
}

/** One refusal on one line: `training.iterations is 0: it must be at least 1. Set it to 1 or more.` */
export function showRefusal({ path, value, rule, remedy, line }: Refusal): string {
  const subject = path === '' ? 'The spec' : path;
  const where = line === undefined ? '' : ` (line ${String(line)})`;
  const shown = value === undefined ? 'is missing' : `is ${shorten(JSON.stringify(value))}`;
  return `${subject}${where} ${shown}: it ${rule}. ${remedy}`;
}

/** All refusals of one file as the CLI prints them, with a heading that counts them. */
export function showRefusals(fileName: string, refusals: readonly Refusal[]): string {
  const count = refusals.length === 1 ? '1 thing' : `${String(refusals.length)} things`;
  return [`${fileName} is refused, ${count} to put right:`, ...refusals.map((one) => `  ${showRefusal(one)}`)].join(
    '\n',
  );
}

function shorten(text: string): string {
  return text.length <= 80 ? text : `${text.slice(0, 77)}...`;
}

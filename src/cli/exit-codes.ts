/** What the exit code of `anneal` says, in one table: scripts rely on it, so a number never changes its meaning. */
export const EXIT_CODES = {
  ok: { code: 0, meaning: 'done as asked' },
  failed: {
    code: 1,
    meaning: 'the run failed or was stopped, the host is not fit to train, or the command itself failed',
  },
  refused: { code: 2, meaning: 'the command line, or the spec, is refused; nothing was started' },
  noServer: { code: 3, meaning: 'no Temporal server, or no worker behind it, answers' },
  notFound: { code: 4, meaning: 'no such run, host, schedule, model, log or file' },
  rejected: {
    code: 5,
    meaning: 'the run ended, but its result did not pass the gate, or newer data was promoted meanwhile',
  },
  hungUp: { code: 129, meaning: 'ended by SIGHUP (the terminal was closed)' },
  interrupted: { code: 130, meaning: 'ended by Ctrl-C' },
  terminated: { code: 143, meaning: 'ended by SIGTERM' },
} as const;

export type ExitName = keyof typeof EXIT_CODES;

/** An error that already is a sentence for the user, with the exit code that it stands for. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly exit: ExitName;
  constructor(exit: ExitName, message: string, options?: ErrorOptions) {
    super(message, options);
    this.exit = exit;
  }
}

/** The table as `anneal --help` prints it. */
export function exitCodeTable(): string {
  const rows = Object.values(EXIT_CODES).map(({ code, meaning }) => `  ${String(code).padStart(3)}  ${meaning}`);
  return ['Exit codes:', ...rows].join('\n');
}

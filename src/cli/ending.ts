/** The signals by which a user ends a command that owns processes: the first ends in order, the second by force. */
import { EXIT_CODES } from './exit-codes.js';

const codes = {
  SIGINT: EXIT_CODES.interrupted.code,
  SIGTERM: EXIT_CODES.terminated.code,
  SIGHUP: EXIT_CODES.hungUp.code,
} as const;

export interface Ending {
  /** Aborted by the first signal. */
  readonly signal: AbortSignal;
  /** The exit code of that signal; undefined while there was none. */
  code(): number | undefined;
  /** Called at the second signal and at each later one. */
  onForce(force: () => void): void;
}

export function listenForEnding(): Ending {
  const first = new AbortController();
  let code: number | undefined;
  let force: (() => void) | undefined;
  const end = (its: number, why: string): void => {
    code = its;
    first.abort(new Error(`ended by ${why}`));
  };
  for (const [name, its] of Object.entries(codes))
    process.on(name, () => {
      if (code === undefined) end(its, name);
      else force?.();
    });
  // Nobody reads any more, as when the terminal is closed. Never the second signal: every further write fails as well.
  process.stdout.on('error', () => {
    if (code === undefined) end(codes.SIGHUP, 'closed output');
  });
  return {
    signal: first.signal,
    code: () => code,
    onForce: (its) => {
      force = its;
    },
  };
}

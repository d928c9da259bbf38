/** Calls npu-smi and hccn_tool of this host: one after the other, under one lock, and no more once one of them has hung. */
import { basename, join } from 'node:path';
import { askTool, type ToolAnswer } from '../process/ask-tool.js';
import { monotonicSeconds } from '../process/wait.js';
import { quote, type Reading } from './reading.js';

export interface AscendPlaces {
  /** Absolute paths. */
  readonly npuSmi: string;
  readonly hccnTool: string;
  /** `/usr/local/Ascend` */
  readonly ascendHome: string;
  readonly trainerHome?: string | undefined;
}

export interface ProbeLimits {
  /** Of one call, and of the wait until others have ended theirs. */
  readonly limitMs: number;
  readonly waitMs: number;
  /** Of all calls together: after it no other one begins. */
  readonly totalMs: number;
}

export class VendorTools {
  readonly #places: AscendPlaces;
  readonly #limits: ProbeLimits;
  readonly #until: number;
  /** Why a tool is not asked any more: sixteen chips with seven questions each would hang for twenty minutes. */
  readonly #givenUp = new Map<string, string>();

  constructor(places: AscendPlaces, limits: ProbeLimits) {
    this.#places = places;
    this.#limits = limits;
    this.#until = monotonicSeconds() + limits.totalMs / 1000;
  }

  async npuSmi<T>(
    args: readonly string[],
    read: (text: string) => Reading<T>,
    { mustEndWith0 = false } = {},
  ): Promise<Reading<T>> {
    return this.#ask(this.#places.npuSmi, args, read, mustEndWith0);
  }

  async hccnTool<T>(args: readonly string[], read: (text: string) => Reading<T>): Promise<Reading<T>> {
    return this.#ask(this.#places.hccnTool, args, read, false);
  }

  async #ask<T>(
    program: string,
    args: readonly string[],
    read: (text: string) => Reading<T>,
    mustEndWith0: boolean,
  ): Promise<Reading<T>> {
    const givenUp = this.#givenUp.get(program);
    if (givenUp !== undefined) return { unread: givenUp };
    const call = [basename(program), ...args].join(' ');
    if (monotonicSeconds() >= this.#until)
      return {
        unread: `${call}: it was not asked, since the look had taken ${seconds(this.#limits.totalMs)}`,
        isLate: true,
      };
    const lib = join(this.#places.ascendHome, 'driver/lib64');
    const answer = await askTool({
      argv: [program, ...args],
      // In a container the driver's libraries are mounted, but no linker's cache knows them.
      env: { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C', LD_LIBRARY_PATH: `${lib}:${lib}/common:${lib}/driver` },
      // One lock for both: each of them may hang beside the other. The tool itself is there on every host, and containers share it.
      lockFile: this.#places.npuSmi,
      limitMs: this.#limits.limitMs,
      waitMs: this.#limits.waitMs,
    });
    if (answer.kind !== 'answered') {
      const why = `${call}: ${this.#whyNoAnswer(answer)}`;
      // A driver that hangs hangs for both.
      const { npuSmi, hccnTool } = this.#places;
      for (const tool of answer.kind === 'not-started' ? [program] : [npuSmi, hccnTool]) this.#givenUp.set(tool, why);
      return { unread: why };
    }
    const text = answer.stdout.trim() === '' ? answer.stderr : answer.stdout;
    if (mustEndWith0 && answer.code !== 0)
      return { unread: `${call}: it ended with code ${String(answer.code)} and said ${quote(text.trim())}` };
    // Which code means what is documented nowhere, so elsewhere the words decide.
    return read(text);
  }

  #whyNoAnswer(answer: Exclude<ToolAnswer, { kind: 'answered' }>): string {
    switch (answer.kind) {
      case 'hung': {
        const end = answer.isGone ? 'was killed' : 'does not die of SIGKILL either: it hangs in the driver';
        return `it had not answered after ${seconds(this.#limits.limitMs)} and ${end}`;
      }
      case 'busy':
        return `another one ran for all of ${seconds(this.#limits.waitMs)}, and two at once may hang; see "fuser -v ${this.#places.npuSmi}"`;
      case 'not-started':
        return answer.why;
    }
  }
}

function seconds(ms: number): string {
  return `${String(ms / 1000)} s`;
}

/** How a verdict is read out of lines: by rules, and out of torchrun's own summary. */
import type { ExitVerdict, Rule } from './failure-kinds.js';
import { isAdvice } from './failure-rules.js';

/** By the surest rule, and of the lines that it knows by the first: the error that counts is the one before all others. */
export function byWords(lines: readonly string[], rules: readonly Rule[]): ExitVerdict | undefined {
  const said = lines.filter((line) => !isAdvice(line)).map((line) => line.trimStart());
  for (const rule of rules) {
    const line = said.find((candidate) => rule.signs.some((sign) => sign.test(candidate)));
    if (line !== undefined) return asRule(rule, line);
  }
  return undefined;
}

export function asRule({ kind, sentence, advice }: Rule, line: string): ExitVerdict {
  const message = `${sentence}: ${quote(line)}`;
  return { kind, message: advice === undefined ? message : `${message.replace(/\.*$/, '.')} ${advice}` };
}

/** torchrun's summary names the first rank that failed; the others fail after it, by lost connections. */
export function rankReport(
  lines: readonly string[],
): { readonly rank: string; readonly code: number; readonly pid: string | undefined } | undefined {
  const start = lines.findLastIndex((line) => line.includes('Root Cause (first observed failure)'));
  if (start < 0) return undefined;
  const report = lines.slice(start, start + 12);
  const value = (pattern: RegExp): string | undefined =>
    report.map((line) => pattern.exec(line)?.[1]).find((text) => text !== undefined);
  return {
    rank: value(/^\s*rank\s*:\s*(-?\d+)/) ?? 'unknown',
    code: Number(value(/^\s*exitcode\s*:\s*(-?\d+)/) ?? NaN),
    pid: value(/^\s*exitcode\s*:.*\(pid: (\d+)\)/),
  };
}

export function quote(line: string): string {
  const text = line.trim();
  return text.length <= 300 ? text : `${text.slice(0, 297)}...`;
}

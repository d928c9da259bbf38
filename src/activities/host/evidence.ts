/** Reads the small JSON reports that our tools write, and checks their shape: a tool that ended with 0 has not proven anything. */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { failure } from '../fail.js';

export async function readReport<Shape extends z.ZodType>(path: string, shape: Shape): Promise<z.output<Shape>> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw failure('CommandFailed', `The tool ended with exit code 0 but wrote no report ${path}.`, undefined, error);
  }
  const parsed = shape.safeParse(parseJson(text));
  if (!parsed.success)
    throw failure('CommandFailed', `The report ${path} is not as agreed: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

/** Undefined for a text that is no JSON: the check of its shape then says so. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

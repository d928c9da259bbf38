/** The workflows as the control worker runs them: the bundle that `npm run build` makes. */
import { readFile } from 'node:fs/promises';

let bundle: Promise<string> | undefined;

export async function workflowBundle(): Promise<string> {
  bundle ??= readFile(new URL('../../dist/workflow-bundle.js', import.meta.url), 'utf8');
  return bundle;
}

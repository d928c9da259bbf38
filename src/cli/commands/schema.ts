/** `anneal schema`: the spec's JSON Schema, for editors. */
import { specJsonSchema } from '../../spec/json-schema.js';
import { printJson } from '../output.js';

export function schema(): void {
  printJson(specJsonSchema());
}

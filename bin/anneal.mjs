#!/usr/bin/env node
/** The `anneal` command in a clone: loads what `npm run setup` built, or says that it must be run. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const main = new URL('../dist/cli/main.js', import.meta.url);
const packages = new URL('../node_modules/', import.meta.url);

if (!existsSync(fileURLToPath(main)) || !existsSync(fileURLToPath(packages))) {
  process.stderr.write('Anneal is not set up in this clone yet. Run: npm run setup\n');
  process.exit(1);
}
await import(main.href);

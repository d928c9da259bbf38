/** `anneal import`: what can be written; what it does is in commands/import.ts. */
import type { Command } from 'commander';
import { addCommand, run } from './command.js';
import type { ImportFlags } from './commands/import.js';

export function addImportCommand(program: Command): void {
  addCommand(
    program,
    'import',
    'Make a spec of a fine-tune script for MindSpeed MM, and tell what became of each line. Nothing of it is run.',
    'anneal import examples/internvl3/finetune_internvl3_8B.sh --hostfile hosts.txt -o run.yaml',
  )
    .argument('<script>', 'the script')
    .option('--model <file>', 'model.json (default: what --mm-model names, from this folder)')
    .option('--data <file>', 'data.json (default: what --mm-data names, from this folder)')
    .option('--hostfile <file>', 'the list of hosts, one address a line, for a script that counts them by a command')
    .option('-o, --output <file>', 'where the spec is written (default: standard output)')
    .option('--json', 'spec, account and data list as JSON')
    .action(async (file: string, flags: ImportFlags) =>
      run((await import('./commands/import.js')).importFile(file, flags)),
    );
}

/** `anneal models …`: what can be written; what it does is in commands/models.ts. */
import type { Command } from 'commander';
import { addCommand, run, wholeNumber } from './command.js';
import type { ModelFlags } from './commands/models.js';
import { withWhere } from './where.js';

const load = () => import('./commands/models.js');

export function addModelCommands(program: Command): void {
  const models = program
    .command('models')
    .description('Show what is promoted, and choose by hand what is current.')
    .exitOverride();
  const add = (name: string, description: string, example: string): Command =>
    withWhere(addCommand(models, name, description, example));

  add('list', 'List the models of the store with what is current.', 'anneal models list')
    .option('--store <folder>', 'the store that holds them')
    .option('--json', 'as JSON')
    .action(async (flags: ModelFlags) => run((await load()).list(flags)));

  add('show', 'Show all promotions of a model, newest first.', 'anneal models show digits')
    .argument('<model>', 'its name')
    .option('--store <folder>', 'the store that holds it')
    .option('--json', 'as JSON, oldest first')
    .action(async (model: string, flags: ModelFlags) => run((await load()).show(model, flags)));

  add(
    'promote',
    'Make what a run has published the current model, whatever its gate said.',
    'anneal models promote digits-1',
  )
    .argument('<run>', 'the id of the run')
    .option('--why <text>', 'the reason, kept with the promotion', 'promoted by hand')
    .option('--json', 'as JSON')
    .action(async (runId: string, flags: ModelFlags & { why: string }) => run((await load()).promote(runId, flags)));

  add(
    'rollback',
    'Make an earlier promotion the current model again.',
    'anneal models rollback digits --why "worse at sevens"',
  )
    .argument('<model>', 'its name')
    .option('--to <number>', 'the promotion (default: the last other model before the current one)', wholeNumber(1))
    .option('--why <text>', 'the reason, kept with the promotion', 'rolled back by hand')
    .option('--json', 'as JSON')
    .action(async (model: string, flags: ModelFlags & { why: string; to?: number }) =>
      run((await load()).rollback(model, flags)),
    );
}

/** `anneal stop|pause|resume|retry RUN`: what can be written; what they do is in commands/requests.ts and commands/retry.ts. */
import type { Command } from 'commander';
import { addCommand, run } from './command.js';
import type { RequestFlags } from './commands/requests.js';
import type { RetryFlags } from './commands/retry.js';
import { withWhere } from './where.js';

const load = () => import('./commands/requests.js');

export function addRunCommands(program: Command): void {
  const add = (name: string, description: string, example: string): Command =>
    withWhere(addCommand(program, name, description, example))
      .argument('<run>', 'the id of the run')
      .option('--why <text>', 'the reason, for those who see it', 'by hand')
      .option('--json', 'who has asked, when and why, as JSON');

  add(
    'stop',
    'End a run: its trainers save, the save is committed, the hosts go back.',
    'anneal stop digits-1 --why "wrong data"',
  ).action(async (runId: string, flags: RequestFlags) => run((await load()).stop(runId, flags)));

  add(
    'pause',
    'Let a run wait: its trainers save, the save is committed, the hosts go back.',
    'anneal pause digits-1 --why "the night run goes first"',
  ).action(async (runId: string, flags: RequestFlags) => run((await load()).pause(runId, flags)));

  add('resume', 'Let a paused run go on from its last commit.', 'anneal resume digits-1').action(
    async (runId: string, flags: RequestFlags) => run((await load()).resume(runId, flags)),
  );

  withWhere(
    addCommand(
      program,
      'retry',
      'Start a run that goes on where one has ended: finished stages are reused, the training goes on from its last commit.',
      'anneal retry digits-1 --spec repaired.yaml --watch',
    ),
  )
    .argument('<run>', 'the id of the run that has ended')
    .option('--spec <file>', 'a changed spec (default: that of the run)')
    .option('--key <id>', 'the id of the new run (default: that of the old with "-r2", then "-r3")')
    .option('--watch', 'follow it to its end')
    .option('--json', 'the run as JSON; with --watch then one event a line')
    .action(async (runId: string, flags: RetryFlags) => run((await import('./commands/retry.js')).retry(runId, flags)));
}

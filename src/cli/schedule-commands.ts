/** `anneal schedule …`: what can be written; what it does is in commands/schedule.ts. */
import { type Command, Option } from 'commander';
import { addCommand, eachTime, run } from './command.js';
import type { CreateFlags, ScheduleFlags } from './commands/schedule.js';
import { withWhere } from './where.js';

/** As in the SDK, which is loaded only by the commands that need it; a test holds the two together. */
export const OVERLAPS = ['skip', 'buffer-one', 'buffer-all', 'cancel-other', 'allow-all'];

const load = () => import('./commands/schedule.js');

export function addScheduleCommands(program: Command): void {
  const schedule = program
    .command('schedule')
    .description('Retrain a model at set times, whenever its data has changed.')
    .exitOverride();
  const add = (name: string, description: string, example: string): Command =>
    withWhere(addCommand(schedule, name, description, example));

  add(
    'create',
    'Create a schedule: retrains of a spec at set times.',
    'anneal schedule create nightly examples/laptop.yaml --at "mon-fri 03:30" --time-zone Europe/Berlin --from promoted',
  )
    .argument('<name>', 'of the schedule; its retrains and their runs are named after it')
    .argument('<file>', 'the spec')
    .option('--cron <expression>', 'five fields, as "30 3 * * 1-5"; may be given more than once', eachTime)
    .option('--every <interval>', 'as 30s, 15m, 6h or 1d; may be given more than once', eachTime)
    .option('--at <time>', '"03:30", "mon-fri 03:30" or "1,15 03:30"; may be given more than once', eachTime)
    .option('--time-zone <name>', 'of --cron and --at (default: UTC)')
    .addOption(
      new Option('--from <model>', 'where training starts: the model of the spec, or the promoted one')
        .choices(['base', 'promoted'])
        .default('base'),
    )
    .addOption(
      new Option('--overlap <policy>', 'when it is time and the retrain before still runs')
        .choices(OVERLAPS)
        .default('skip'),
    )
    .option('--catch-up <time>', 'how late a missed firing may still come', '1d')
    .option('--pause-on-failure', 'pause the schedule when a retrain fails')
    .option('--paused', 'create it paused')
    .option('--json', 'the schedule as JSON')
    .action(async (name: string, file: string, flags: CreateFlags) => run((await load()).create(name, file, flags)));

  add('list', 'List the schedules of the cluster.', 'anneal schedule list')
    .option('--json', 'as JSON')
    .action(async (flags: ScheduleFlags) => run((await load()).list(flags)));

  add('show', 'Show a schedule, its next times and its last retrains.', 'anneal schedule show nightly')
    .argument('<name>', 'of the schedule')
    .option('--json', 'as JSON, with its spec')
    .action(async (name: string, flags: ScheduleFlags) => run((await load()).show(name, flags)));

  add('pause', 'Fire no more until it is resumed; a retrain that runs goes on.', 'anneal schedule pause nightly')
    .argument('<name>', 'of the schedule')
    .option('--why <text>', 'a note that is kept with it', 'paused by hand')
    .action(async (name: string, flags: ScheduleFlags & { why: string }) => run((await load()).pause(name, flags)));

  add('resume', 'Fire again at its times.', 'anneal schedule resume nightly')
    .argument('<name>', 'of the schedule')
    .option('--why <text>', 'a note that is kept with it', 'resumed by hand')
    .action(async (name: string, flags: ScheduleFlags & { why: string }) => run((await load()).resume(name, flags)));

  add('trigger', 'Fire now, also while it is paused.', 'anneal schedule trigger nightly')
    .argument('<name>', 'of the schedule')
    .action(async (name: string, flags: ScheduleFlags) => run((await load()).trigger(name, flags)));

  add('delete', 'Delete a schedule; a retrain that runs goes on.', 'anneal schedule delete nightly')
    .argument('<name>', 'of the schedule')
    .action(async (name: string, flags: ScheduleFlags) => run((await load()).remove(name, flags)));
}

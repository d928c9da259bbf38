/** The command `anneal`. Each command's code is loaded only when it is called, so that the first output comes at once. */
import { Command } from 'commander';
import { addCommand, eachTime, run, wholeNumber } from './command.js';
import type { PlanFlags } from './commands/plan.js';
import { addDoctor, addHostCommands } from './host-commands.js';
import { addImportCommand } from './import-command.js';
import { addModelCommands } from './model-commands.js';
import { addRunCommands } from './run-commands.js';
import { addScheduleCommands } from './schedule-commands.js';
import { EXIT_CODES, exitCodeTable } from './exit-codes.js';
import { failureOf } from './failure.js';
import { packageVersion } from './package-root.js';
import { withWhere, type WhereFlags } from './where.js';

type Read = WhereFlags & { readonly json?: boolean };

// The pinned SDK of S3 says at each start that later ones will need a newer Node than our floor.
process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';

const program = new Command('anneal')
  .description('A durable fine-tuning engine for multimodal models on Temporal.')
  .version(packageVersion())
  .showHelpAfterError('(--help shows what can be written)')
  .addHelpText('after', `\n${exitCodeTable()}\n\nStart with: anneal demo`)
  .enablePositionalOptions() // what follows a subcommand is the subcommand's, also where its parent has the same option
  .exitOverride();

const command = (name: string, description: string, example: string): Command =>
  addCommand(program, name, description, example);

const DEV_STORE = '"s3" for an S3 server of its own, or the address of a store (default: a folder in the state folder)';

command(
  'demo',
  'Fine-tune a tiny InternVL3 on this machine, all six stages, and show what came out.',
  'anneal demo --fresh',
)
  .option('--fresh', 'forget earlier demo runs and train anew')
  .option('--state-dir <folder>', 'where the demo keeps its state', '.anneal/demo')
  .option('--store <store>', DEV_STORE)
  .option('--port <number>', 'first port to try for Temporal; its page is 1000 above', wholeNumber(1), 7233)
  .action(async (flags: { fresh?: boolean; stateDir: string; store?: string; port: number }) =>
    run((await import('./commands/demo.js')).demo(flags)),
  );

command('dev', 'Run Temporal, a control worker and agents on this machine until Ctrl-C.', 'anneal dev --agents 2')
  .option('--agents <number>', 'agents, each a host of its own with one NPU slot', wholeNumber(0), 2)
  .option('--state-dir <folder>', 'where everything is kept', '.anneal')
  .option('--store <store>', DEV_STORE)
  .option('--port <number>', 'first port to try for Temporal; its page is 1000 above', wholeNumber(1), 7233)
  .action(async (flags: { agents: number; stateDir: string; store?: string; port: number }) =>
    run((await import('./commands/dev.js')).dev(flags)),
  );

command('worker', 'Run a control worker of a cluster.', 'anneal worker --config worker.yaml')
  .requiredOption('--config <file>', 'its settings')
  .action(async (flags: { config: string }) => run((await import('./commands/worker.js')).worker(flags)));

command('agent', 'Run the agent of this host.', 'anneal agent --config agent.yaml')
  .requiredOption('--config <file>', 'its settings')
  .action(async (flags: { config: string }) => run((await import('./commands/worker.js')).agent(flags)));

withWhere(command('plan', 'Show what a run of a spec would do, and start nothing.', 'anneal plan examples/laptop.yaml'))
  .argument('<file>', 'the spec')
  .option('--store <store>', 'the folder or address of the store to look for what can be reused')
  .option(
    '--given <name=number>',
    'a number of your site that no spec says, for the forecast of an Ascend run; may be given more than once',
    eachTime,
  )
  .option('--suggest [hosts]', 'instead: which layouts fit so many hosts (default: those of the spec)', wholeNumber(1))
  .option('--write <folder>', 'also write the plan, its files and a script for every node, to run by hand')
  .option('--json', 'the whole plan as JSON')
  .action(async (file: string, flags: PlanFlags) => run((await import('./commands/plan.js')).plan(file, flags)));

withWhere(command('submit', 'Start a run of a spec.', 'anneal submit examples/laptop.yaml --key digits-1 --watch'))
  .argument('<file>', 'the spec')
  .option('--key <id>', 'the id of the run; the same key twice is the same run')
  .option('--watch', 'follow it to its end')
  .option('--json', 'the run as JSON; with --watch then one event a line')
  .action(async (file: string, flags: Read & { key?: string; watch?: boolean }) =>
    run((await import('./commands/submit.js')).submit(file, flags)),
  );

withWhere(command('runs', 'List runs, newest first.', 'anneal runs --json | jq -r .[0].runId'))
  .option('--limit <number>', 'at most so many', wholeNumber(1), 50)
  .option('--json', 'as JSON')
  .action(async (flags: Read & { limit: number }) => run((await import('./commands/runs.js')).runs(flags)));

withWhere(
  command(
    'watch',
    'Follow a run to its end; a run that has ended is told from its beginning.',
    'anneal watch digits-1',
  ),
)
  .argument('<run>', 'the id of the run')
  .option('--json', 'one event a line, as JSON')
  .action(async (runId: string, flags: Read) => run((await import('./commands/watch.js')).watch(runId, flags)));

withWhere(
  command(
    'logs',
    'Print what the trainers and commands of a run printed.',
    'anneal logs digits-1 --stage train --node 1 --follow',
  ),
)
  .argument('<run>', 'the id of the run')
  .option('--store <store>', 'the folder or address of the store that holds the logs')
  .option('--stage <name>', 'only this stage')
  .option('--node <rank>', 'only this node of the gang', (text) => String(wholeNumber(0)(text)))
  .option('--follow', 'go on with what comes, until Ctrl-C')
  .option('--json', 'the list of logs and their chunks instead of their text')
  .action(async (runId: string, flags: Read & { stage?: string; node?: string; follow?: boolean }) =>
    run((await import('./commands/logs.js')).logs(runId, flags)),
  );

withWhere(
  command(
    'metrics',
    'Show what a run has measured at each iteration: loss, learning rate, gradient norm, time.',
    'anneal metrics digits-1 --tensorboard tb',
  ),
)
  .argument('<run>', 'the id of the run')
  .option('--store <folder>', 'the store that holds the record')
  .option('--tensorboard <folder>', 'also write an event file for TensorBoard, below a folder of the run')
  .option('--json', 'every iteration, one a line, exact')
  .action(async (runId: string, flags: Read & { tensorboard?: string }) =>
    run((await import('./commands/metrics.js')).metrics(runId, flags)),
  );

addImportCommand(program);
addRunCommands(program);
addHostCommands(program);
addDoctor(program);

withWhere(
  command(
    'report',
    'Say what a run did: stages, times, accuracy, incidents, where everything lies.',
    'anneal report digits-1 --markdown',
  ),
)
  .argument('<run>', 'the id of the run')
  .option('--markdown', 'as Markdown')
  .option('--json', 'as JSON')
  .action(async (runId: string, flags: Read & { markdown?: boolean }) =>
    run((await import('./commands/report.js')).report(runId, flags)),
  );

addScheduleCommands(program);
addModelCommands(program);
withWhere(
  program
    .command('cluster')
    .description('Set up what a cluster needs of its Temporal server.')
    .exitOverride()
    .command('init')
    .description('Make a Temporal server ready: namespace, retention, search attributes. What is there stays.')
    .addHelpText('after', '\nExample:\n  anneal cluster init --address temporal.example:7233 --namespace anneal')
    .exitOverride(),
)
  .option('--retention-days <number>', 'how long runs that have ended are kept (default: 30 if new)', wholeNumber(1))
  .option('--json', 'what was made and what was there, as JSON')
  .action(async (flags: Read & { retentionDays?: number }) => run((await import('./commands/cluster.js')).init(flags)));

command('schema', 'Print the JSON Schema of the spec, for editors.', 'anneal schema > anneal.schema.json').action(
  async () => {
    (await import('./commands/schema.js')).schema();
  },
);

/**
 * `anneal runs | head` closes the pipe, and a closed terminal fails every write: neither is a fault. A command that owns processes
 * (it listens to SIGHUP) ends them first, see ending.ts; any other is done.
 */
function surviveClosedOutput(): void {
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE' && error.code !== 'EIO') throw error;
      if (process.listenerCount('SIGHUP') === 0) process.exit(EXIT_CODES.ok.code);
    });
}

async function main(): Promise<void> {
  surviveClosedOutput();
  try {
    await program.parseAsync();
  } catch (error) {
    if (
      error instanceof Error &&
      'code' in error &&
      typeof error.code === 'string' &&
      error.code.startsWith('commander.')
    ) {
      // Commander has said what is wrong; help and version are no error.
      process.exitCode = 'exitCode' in error && error.exitCode === 0 ? EXIT_CODES.ok.code : EXIT_CODES.refused.code;
      return;
    }
    const { code, text } = failureOf(error);
    process.stderr.write(`${text}\n`);
    process.exitCode = code;
  }
}

await main();

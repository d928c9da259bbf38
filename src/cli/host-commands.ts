/** `anneal hosts …` and `anneal doctor`: what can be written; what they do is in commands/hosts.ts and commands/doctor.ts. */
import type { Command } from 'commander';
import { addCommand, run } from './command.js';
import { withWhere, type WhereFlags } from './where.js';

const load = () => import('./commands/hosts.js');
type Read = WhereFlags & { readonly json?: boolean };

export function addHostCommands(program: Command): void {
  const description = 'Show the hosts of the cluster, who holds them and who waits.';
  const hosts = withWhere(addCommand(program, 'hosts', description, 'anneal hosts'))
    .enablePositionalOptions() // what follows a subcommand is the subcommand's
    .option('--json', 'as JSON')
    .action(async (flags: Read) => run((await load()).hosts(flags)));
  const add = (name: string, description: string, example: string): Command =>
    withWhere(addCommand(hosts, name, description, example));

  add('show', 'Show all that is known of a host.', 'anneal hosts show host-a')
    .argument('<host>', 'its name')
    .option('--json', 'as JSON')
    .action(async (name: string, flags: Read) => run((await load()).showHost(name, flags)));

  add('queue', 'Show who waits for hosts, and why.', 'anneal hosts queue')
    .option('--json', 'as JSON')
    .action(async (flags: Read) => run((await load()).queue(flags)));

  add('cordon', 'Grant a host to nobody; who holds it keeps it.', 'anneal hosts cordon host-a --reason "fan"')
    .argument('<host>', 'its name')
    .requiredOption('--reason <text>', 'why, for those who see it')
    .action(async (name: string, flags: WhereFlags & { reason: string }) => run((await load()).cordon(name, flags)));

  add(
    'drain',
    'Cordon a host, and let the gang that holds it save and move to other hosts.',
    'anneal hosts drain host-a --reason "fan"',
  )
    .argument('<host>', 'its name')
    .option('--reason <text>', 'why, for those who see it', 'drained by hand')
    .action(async (name: string, flags: WhereFlags & { reason: string }) => run((await load()).drain(name, flags)));

  add('uncordon', 'End a cordon or a quarantine.', 'anneal hosts uncordon host-a')
    .argument('<host>', 'its name')
    .action(async (name: string, flags: WhereFlags) => run((await load()).uncordon(name, flags)));
}

/** Of the host that it is called on; needs no server. */
export function addDoctor(program: Command): void {
  const description = 'Look at this host: whether it can train, and what to do about what speaks against it.';
  addCommand(program, 'doctor', description, 'anneal doctor --config agent.yaml')
    .option('--config <file>', "the settings of this host's agent; without them only the machine is looked at")
    .option('--record-idle', 'note what the memory of idle NPUs holds, for later looks')
    .option('--json', 'as JSON')
    .action(async (flags: { config?: string; recordIdle?: boolean; json?: boolean }) =>
      run((await import('./commands/doctor.js')).doctor(flags)),
    );
}

/** What every program of a runtime gets on this host beside what its plan says: on Ascend, CANN's variables and the network interface. */
import { networkInterfaces } from 'node:os';
import { interfaceVariables } from '../backends/mindspeed/environment.js';
import { captureEnvironment, joinEnvironments } from '../process/capture-environment.js';
import { inheritedEnvironment } from '../process/marker.js';
import type { AgentConfig } from './config.js';

type Settings = Pick<AgentConfig, 'address' | 'runtimeBin'> & {
  readonly ascend?: Pick<NonNullable<AgentConfig['ascend']>, 'setEnv' | 'interface'> | undefined;
};

/** Read once for the life of an agent: who installs another CANN restarts it. Throws a sentence when this host cannot be set up so. */
export async function hostEnvironment(
  { ascend, address, runtimeBin }: Settings,
  own: Readonly<Record<string, string | undefined>>,
): Promise<Readonly<Record<string, string>>> {
  const inherited = inheritedEnvironment(own);
  if (ascend === undefined) return inherited;
  // The runtime's own programs first: nnal's set_env.sh asks "python3" how its torch was built.
  const before = joinEnvironments(inherited, { PATH: runtimeBin });
  const captured = await captureEnvironment(ascend.setEnv, before);
  return joinEnvironments(inherited, captured, interfaceVariables(ascend.interface ?? interfaceOf(address)));
}

function interfaceOf(address: string): string {
  const found = Object.entries(networkInterfaces()).find(([, addresses = []]) =>
    addresses.some((one) => one.address === address),
  );
  if (found === undefined)
    throw new Error(
      `No network interface of this host has the address ${address}, so it is not known over which one the hosts of a gang meet: ` +
        'set "ascend.interface" to its name ("ip addr" shows it), or "address" to its address.',
    );
  return found[0];
}

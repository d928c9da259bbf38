/** The holes of a plan as variables of a person's shell: what each is called, what it must hold, and how bash checks it. */
import type { HoleName } from '../../plan/plan.js';

interface HandVariable {
  readonly variable: string;
  /** `there`: a folder that exists. `made`: a folder that the script makes. `interface`: one of this machine. */
  readonly kind: 'there' | 'made' | 'address' | 'port' | 'interface';
  readonly meaning: string;
}

/** `nodeRank` is not here: each script is that of one node and has the number in it. */
export const HAND_HOLES: Readonly<Record<Exclude<HoleName, 'nodeRank'>, HandVariable>> = {
  work: { variable: 'ANNEAL_WORK', kind: 'made', meaning: 'a folder for what this step writes' },
  trainerHome: {
    variable: 'ANNEAL_TRAINER_HOME',
    kind: 'there',
    meaning: "the folder with the trainer's entry scripts (MindSpeed MM's repository, with megatron/ in it)",
  },
  toolsHome: { variable: 'ANNEAL_TOOLS_HOME', kind: 'there', meaning: "the folder trainer/ of Anneal's package" },
  baseModel: { variable: 'ANNEAL_BASE_MODEL', kind: 'there', meaning: 'the base model as its publisher lays it out' },
  sourceData: { variable: 'ANNEAL_SOURCE_DATA', kind: 'there', meaning: 'the data set as it was fetched' },
  start: { variable: 'ANNEAL_START', kind: 'there', meaning: 'the save folder that training begins from' },
  converted: { variable: 'ANNEAL_CONVERTED', kind: 'there', meaning: 'the converted model' },
  dataset: { variable: 'ANNEAL_DATASET', kind: 'there', meaning: 'the prepared data set' },
  trained: { variable: 'ANNEAL_TRAINED', kind: 'there', meaning: 'the save folder of the training, whole' },
  published: { variable: 'ANNEAL_PUBLISHED', kind: 'there', meaning: "the result in the publisher's layout" },
  load: {
    variable: 'ANNEAL_LOAD',
    kind: 'there',
    meaning: 'at the first start the converted model, later the save folder; it must have a tracker',
  },
  save: { variable: 'ANNEAL_SAVE', kind: 'made', meaning: 'the folder for checkpoints, of this training alone' },
  masterAddress: { variable: 'ANNEAL_MASTER_ADDRESS', kind: 'address', meaning: 'name or address of node 0' },
  masterPort: { variable: 'ANNEAL_MASTER_PORT', kind: 'port', meaning: 'a free port of node 0, another at each start' },
};

/** No hole: an agent knows its own, and gives its variables to every program. */
export const INTERFACE: HandVariable = {
  variable: 'ANNEAL_INTERFACE',
  kind: 'interface',
  meaning: 'the network interface of this host over which the nodes meet ("ip addr" shows it)',
};

/** In a JSON file of the plan, until the script puts the folder there. */
export function placeholder(hole: HoleName): string {
  return `@{${hole}}`;
}

/** What each script begins with; no path may hold what would break out of a JSON string. */
export const CHECKS = `plain='^/[^"\\\\{}[:cntrl:]]*$'
fail() { printf '%s\\n' "$*" >&2; exit 1; }
given() { [ -n "\${!1:-}" ] || fail "$1 is not set: $2. Set it, and run this again."; }
path() {
  given "$1" "$2"
  [[ "\${!1}" =~ $plain ]] || fail "$1 is \${!1}: it must be an absolute path without quotes, braces and backslashes."
}
there() { path "$1" "$2"; [ -d "\${!1}" ] || fail "$1 is \${!1}: there is no such folder. It must be $2."; }
made() { path "$1" "$2"; mkdir -p -- "\${!1}"; }
address() { given "$1" "$2"; [[ "\${!1}" =~ ^[A-Za-z0-9.:_-]+$ ]] || fail "$1 is \${!1}: it must be a name or an address."; }
port() {
  given "$1" "$2"
  if ! [[ "\${!1}" =~ ^[1-9][0-9]{0,4}$ ]] || (( \${!1} > 65535 )); then fail "$1 is \${!1}: it must be a port, 1 to 65535."; fi
}
interface() {
  given "$1" "$2"
  [[ "\${!1}" =~ ^[A-Za-z0-9][A-Za-z0-9._:@-]*$ ]] && [ -e "/sys/class/net/\${!1}" ] ||
    fail "$1 is \${!1}: this host has no such network interface, but these: $(ls -m /sys/class/net). It must be $2."
}
empty() { [ -z "$(ls -A -- "\${!1}")" ] || fail "$1 is \${!1}: it must be empty, since what is left there would be taken for a result."; }`;

/**
 * Markers: the environment variables by which every process of a trainer or of a command is found again, also by an agent
 * that did not start it. A marker must name one trainer or command of one host and nothing else, because what carries it is
 * killed.
 */

/** One trainer among those of a host. */
export interface TrainerId {
  readonly runId: string;
  readonly generation: number;
  readonly nodeRank: number;
}

/** One trainer. On a laptop several hosts of one gang, and hosts of other clusters with runs of the same id, share a machine. */
export interface TrainerMarker extends TrainerId {
  /** The folder of its host alone; absolute. */
  readonly workRoot: string;
}

/** The commands of one stage on one host; with `commandId` exactly one of them. */
export interface CommandMarker {
  readonly workRoot: string;
  readonly runId: string;
  readonly stage: string;
  readonly commandId?: string | undefined;
}

export type Marker = TrainerMarker | CommandMarker;

/** The variables to set in a process, and to look for. Throws when a part is empty: such a marker would match strangers. */
export function markerEnvironment(marker: Marker): Readonly<Record<string, string>> {
  const variables: Record<string, string> = {
    ANNEAL_WORK_ROOT: marker.workRoot,
    ANNEAL_RUN_ID: marker.runId,
    ...('stage' in marker
      ? { ANNEAL_STAGE: marker.stage }
      : { ANNEAL_GENERATION: String(marker.generation), ANNEAL_NODE_RANK: String(marker.nodeRank) }),
  };
  if ('stage' in marker && marker.commandId !== undefined) variables['ANNEAL_COMMAND_ID'] = marker.commandId;
  for (const [name, value] of Object.entries(variables)) {
    if (value === '' || value.includes('\0')) {
      throw new Error(
        `The marker ${name} is ${JSON.stringify(value)}: give it a value that is not empty, without NUL.`,
      );
    }
  }
  return variables;
}

/** For messages: `run r1, generation 4, node rank 0`. */
export function describeMarker(marker: Marker): string {
  return 'stage' in marker
    ? `run ${marker.runId}, stage ${marker.stage}`
    : `run ${marker.runId}, generation ${marker.generation}, node rank ${marker.nodeRank}`;
}

/** What a child may take over from us. All else it gets by name, so that a run does not depend on who started its agent. */
const inheritedNames: readonly string[] = [
  ...['PATH', 'HOME', 'USER', 'LOGNAME', 'LANG', 'LC_ALL', 'LC_CTYPE', 'TZ', 'TMPDIR', 'SSL_CERT_FILE', 'SSL_CERT_DIR'],
  ...['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'http_proxy', 'https_proxy', 'no_proxy'],
];

/** Names whose values are for nobody but the program itself, and addresses with a name and a password in them. */
const SECRET_NAME = /secret|token|passw|credential|private|auth|(^|_)key(_|$)/i;
const LOGIN = /(:\/\/)[^/@\s]+@/g;

/** An environment that may be shown and kept. */
export function withoutSecrets(environment: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(environment).map(([name, value]) => [
      name,
      SECRET_NAME.test(name) ? '(left out)' : value.replaceAll(LOGIN, '$1(left out)@'),
    ]),
  );
}

/** Picks from a process's environment (`workers` and `cli` have it) what its children may inherit. */
export function inheritedEnvironment(source: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const picked: Record<string, string> = {};
  for (const name of inheritedNames) {
    const value = source[name];
    if (value !== undefined) picked[name] = value;
  }
  return picked;
}

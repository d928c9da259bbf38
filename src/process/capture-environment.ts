/**
 * What shell scripts of a vendor (CANN's `set_env.sh`) set, as plain variables: a shell reads them once, and from then on they are given
 * to programs by name. So no program needs a shell around it, and what a trainer was started with can be said afterwards.
 */
import { execFile } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import { promisify } from 'node:util';

type Environment = Readonly<Record<string, string>>;

/** Reading some files and asking a Python for its ABI takes a second; a folder on a network that is away takes for ever. */
const LIMIT_MS = 60_000;
const MAX_BYTES = 4 * 1024 * 1024;

/**
 * No `set -u` and no `set -e`: such scripts read variables that nobody has set and end with the status of a failed test. What they print
 * goes to standard error, so that the list stands alone; and they see no argument, since they would read ours.
 */
const READ =
  'scripts=("$@"); set --; for script in "${scripts[@]}"; do source "$script" >&2 < /dev/null; done; exec env -0';
/** What the shell itself changes. */
const OF_THE_SHELL: ReadonlySet<string> = new Set(['_', 'SHLVL', 'PWD', 'OLDPWD']);

/**
 * The variables that differ after the scripts were sourced one after another on top of `before`. Throws a sentence when a script cannot
 * be read, ends the shell, or when nothing is different: then what was named is no such script.
 */
export async function captureEnvironment(scripts: readonly string[], before: Environment): Promise<Environment> {
  for (const script of scripts)
    await access(script, constants.R_OK).catch((error: unknown) => {
      const why = String((error as NodeJS.ErrnoException).code);
      throw new Error(
        `${script} cannot be read (${why}): it must be a set_env.sh of CANN. Install it, or correct "ascend.setEnv".`,
      );
    });
  const names = scripts.join(', ');
  const text = await sourced(scripts, before).catch((error: unknown) => {
    const { killed, stderr = '' } = error as { readonly killed?: boolean; readonly stderr?: string };
    const how =
      killed === true ? `took longer than ${String(LIMIT_MS / 1000)} s` : `ended the shell: ${lastLine(stderr)}`;
    throw new Error(`Reading ${names} ${how}. Source it in a shell of your own to see why.`);
  });
  const captured = changes(parse(text), before);
  if (Object.keys(captured).length === 0)
    throw new Error(`Reading ${names} set no variable: it must be a set_env.sh of CANN. Correct "ascend.setEnv".`);
  return captured;
}

async function sourced(scripts: readonly string[], env: Environment): Promise<string> {
  const { stdout } = await promisify(execFile)('bash', ['--noprofile', '--norc', '-c', READ, 'bash', ...scripts], {
    ...{ env, cwd: '/', timeout: LIMIT_MS, killSignal: 'SIGKILL', maxBuffer: MAX_BYTES },
  });
  // A script that calls `exit` ends the shell before the list, with whatever status.
  if (stdout === '') throw Object.assign(new Error('no list'), { stderr: 'it called exit' });
  return stdout;
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1)?.slice(0, 300) ?? '';
}

function parse(text: string): Environment {
  const entries = text.split('\0').flatMap((entry) => {
    // Exported functions have names that no other program could set.
    const [, name, value] = /^([A-Za-z_]\w*)=([^]*)$/.exec(entry) ?? [];
    return name === undefined || value === undefined ? [] : [[name, value] as const];
  });
  return Object.fromEntries(entries);
}

function changes(after: Environment, before: Environment): Environment {
  return Object.fromEntries(
    Object.entries(after).filter(([name, value]) => !OF_THE_SHELL.has(name) && before[name] !== value),
  );
}

/** Variables whose value is a list of places, of which the first counts. */
const LISTS: readonly string[] = ['PATH', 'PYTHONPATH', 'LD_LIBRARY_PATH'];

/** Later ones win, but for lists of places: there all stay, those of later ones first. An empty place would mean the current folder. */
export function joinEnvironments(...environments: readonly Environment[]): Record<string, string> {
  const joined: Record<string, string> = {};
  for (const environment of environments)
    for (const [name, value] of Object.entries(environment)) {
      const places = LISTS.includes(name) ? [...value.split(':'), ...(joined[name] ?? '').split(':')] : undefined;
      joined[name] = places === undefined ? value : [...new Set(places.filter((place) => place !== ''))].join(':');
    }
  return joined;
}

/** One bash script for each step of a plan and for each node of its training, as a person would run them without Anneal. */
import type { Argument, CommandPlan, HoleName, JsonWithHoles, Plan, StageName, StagePlan } from '../../plan/plan.js';
import { RELEASE_FOLDER, TRACKER_FILE } from '../mindspeed/checkpoint.js';
import { FOLDERS } from '../mindspeed/convert.js';
import { interfaceVariables } from '../mindspeed/environment.js';
import { CHECKS, HAND_HOLES, INTERFACE, placeholder } from './holes.js';

/** `node` is given for the training alone. */
export function scriptOf(plan: Plan, stage: StageName, node?: number): string {
  const { files, commands } = plan.stages[stage];
  const holes = holesOf(plan.stages[stage]);
  const needsInterface = plan.runtime === 'ascend' && node !== undefined;
  const what = node === undefined ? stage : `${stage}, node ${String(node)} of ${String(plan.gang.hosts)}`;
  return [
    '#!/usr/bin/env bash',
    `# ${plan.name}: ${what}. Written by "anneal plan --write" for the ${plan.runtime} runtime.`,
    ...(plan.runtime === 'ascend'
      ? ['# It follows the published files of MindSpeed MM 2.2.0 and has not run on an NPU.']
      : []),
    'set -euo pipefail',
    ...(files.length > 0 ? ['here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"'] : []),
    CHECKS,
    '',
    ...[...holes.map((hole) => HAND_HOLES[hole]), ...(needsInterface ? [INTERFACE] : [])].map(
      ({ kind, variable, meaning }) => `${kind} ${variable} ${quote(meaning)}`,
    ),
    // mm-convert leaves what an earlier call has written, and a later step would read it.
    ...(stage !== 'train' && holes.includes('work') ? ['empty ANNEAL_WORK'] : []),
    ...(plan.runtime === 'ascend' ? ['', ...CANN] : []),
    ...(needsInterface ? ['', ...NAME_INTERFACE] : []),
    ...(stage === 'convert' ? ['', ...SHARDS] : []),
    ...files.flatMap(({ path, content }) => ['', ...writeFile(stage, path, content)]),
    ...commands.flatMap((command) => ['', ...runCommand(command, node)]),
    ...evidence(plan, stage, node),
    '',
  ].join('\n');
}

/** The names of the holes that a stage has, in the order of the table. */
function holesOf({ files, commands }: StagePlan): readonly Exclude<HoleName, 'nodeRank'>[] {
  const used = new Set<string>();
  const look = (value: unknown): void => {
    if (value === null || typeof value !== 'object') return;
    if ('hole' in value && typeof value.hole === 'string') used.add(value.hole);
    else Object.values(value).forEach(look);
  };
  look(files);
  look(commands);
  // Files go below `work`, whether a command names it or not.
  if (files.length > 0) used.add('work');
  return (Object.keys(HAND_HOLES) as Exclude<HoleName, 'nodeRank'>[]).filter((hole) => used.has(hole));
}

const CANN = [
  'if [ -z "${ASCEND_HOME_PATH:-}" ]; then',
  '  set_env="${CANN_SET_ENV:-/usr/local/Ascend/ascend-toolkit/set_env.sh}"',
  '  [ -r "$set_env" ] || fail "CANN is not in the environment and $set_env cannot be read. Set CANN_SET_ENV to its set_env.sh."',
  '  # It reads variables that are not set.',
  '  set +u',
  '  # shellcheck source=/dev/null',
  '  source "$set_env"',
  '  set -u',
  'fi',
];

/** mm-convert reads what is there, and converts without a word where a shard is missing. */
const SHARDS = [
  'index="$ANNEAL_BASE_MODEL/model.safetensors.index.json"',
  'if [ -e "$index" ]; then',
  '  while read -r shard; do',
  '    [ -s "$ANNEAL_BASE_MODEL/$shard" ] || fail "$index names $shard, which is missing or empty: fetch it again."',
  `  done < <(grep -o '[^"/]*\\.safetensors"' "$index" | tr -d '"' | sort -u)`,
  'fi',
];

/** As an agent sets them; a variable that its trainers never inherit would outrank the first. */
const NAME_INTERFACE = [
  'unset HCCL_IF_IP',
  ...Object.entries(interfaceVariables(`$${INTERFACE.variable}`)).map(([name, value]) => `export ${name}="${value}"`),
];

function writeFile(stage: StageName, path: string, content: JsonWithHoles): readonly string[] {
  const holes = (Object.keys(HAND_HOLES) as Exclude<HoleName, 'nodeRank'>[]).filter((hole) =>
    fileText(content).includes(placeholder(hole)),
  );
  return [
    `text="$(< "$here"/${quote(`${stage}/${path}`)})"`,
    ...holes.map((hole) => `text=\${text//${quote(placeholder(hole))}/"$${HAND_HOLES[hole].variable}"}`),
    `printf '%s\\n' "$text" > "$ANNEAL_WORK"/${quote(path)}`,
  ];
}

/** A JSON file of the plan; the holes stand in it as `@{dataset}`, until the script fills them. */
export function fileText(content: JsonWithHoles): string {
  return JSON.stringify(
    content,
    (_, value: unknown) =>
      value !== null && typeof value === 'object' && 'hole' in value
        ? placeholder(value.hole as HoleName) + ('then' in value ? String(value.then) : '')
        : value,
    2,
  );
}

function runCommand(
  { program, args, env, cwd, stdin, whenResumed }: CommandPlan,
  node: number | undefined,
): readonly string[] {
  const word = (argument: Argument): string => bashWord(argument, node);
  const variables = Object.entries(env).map(([name, value]) => `${name}=${word(value)}`);
  const lines = ['env', ...variables, word(program), ...args.map(word)];
  return [
    `cd -- ${word(cwd)}`,
    'command=(',
    ...lines.map((line) => `  ${line}`),
    ')',
    ...(whenResumed === undefined
      ? []
      : [
          `if [ "$(cat -- "$ANNEAL_LOAD"/${quote(TRACKER_FILE)})" != ${quote(RELEASE_FOLDER)} ]; then`,
          `  command+=(${whenResumed.map(word).join(' ')})`,
          'fi',
        ]),
    node === undefined
      ? `"\${command[@]}" ${stdin === undefined ? '< /dev/null' : `<<< ${quote(stdin.trimEnd())}`}`
      : [
          `log="$ANNEAL_WORK/train-node-${String(node)}-$(date +%Y%m%dT%H%M%S).log"`,
          '"${command[@]}" < /dev/null 2>&1 | tee -- "$log"',
        ].join('\n'),
  ];
}

/** An exit code of 0 proves nothing: mm-convert and Megatron end with it after failures too. */
function evidence({ gang }: Plan, stage: StageName, node: number | undefined): readonly string[] {
  if (stage === 'convert') {
    const names = gang.releaseFiles.map(({ path }) => quote(path)).join(' ');
    return [
      '',
      `for file in ${names}; do`,
      `  [ -s "$ANNEAL_WORK"${quote(`${FOLDERS.converted}/${RELEASE_FOLDER}`)}"/$file" ] || fail "The converter ended without $file."`,
      'done',
      `printf 'Converted: %s\\n' "$ANNEAL_WORK"${quote(FOLDERS.converted)}`,
    ];
  }
  if (node === undefined) return [];
  if (node !== 0) return ['', "printf 'This node is done. Node 0 says whether the training is.\\n'"];
  return [
    '',
    `grep -qF '[after training is done]' -- "$log" || fail "The trainer ended, but never said that training is done. See $log."`,
    `tracker="$(cat -- "$ANNEAL_SAVE"/${quote(TRACKER_FILE)})"`,
    `[ "$tracker" = ${quote(String(gang.iterations))} ] || fail "The last checkpoint is of iteration $tracker, not of ${String(gang.iterations)}."`,
    `printf 'Trained: %s\\n' "$ANNEAL_SAVE"`,
  ];
}

function bashWord(argument: Argument, node: number | undefined): string {
  if (typeof argument === 'string') return quote(argument);
  const then = argument.then === undefined ? '' : quote(argument.then);
  if (argument.hole !== 'nodeRank') return `"$${HAND_HOLES[argument.hole].variable}"${then}`;
  if (node === undefined) throw new Error('The plan names a node in a command that no node runs.');
  return quote(String(node)) + then;
}

/** Nothing is special between single quotes but the quote itself. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

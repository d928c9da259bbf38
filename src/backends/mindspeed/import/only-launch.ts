/** A script's one line that starts the training, as options; a script with none, or with more, is refused. */
import { basename } from 'node:path';
import type { Draft } from './draft.js';
import { type Command, readCommand } from './launch.js';
import { readScript, type Script } from './script.js';
import { LexError } from './shell-text.js';

const ENTRIES = ['pretrain_vlm.py', 'pretrain_internvl.py'];

interface LaunchRequest {
  readonly scriptFile: string;
  readonly hostfile?: string | undefined;
  readonly read: (path: string) => string | undefined;
}

/** The script and its one launch; where it makes the number of hosts by a command, the host file tells it. */
export function readLaunch(draft: Draft, request: LaunchRequest): { script: Script; command: Command } | undefined {
  const { scriptFile, hostfile, read } = request;
  const text = read(scriptFile) ?? '';
  try {
    const first = withOneLaunch(draft, readScript(text, new Map()));
    if (first === undefined || hostfile === undefined) return first;
    const hosts = (read(hostfile) ?? '').split('\n').filter((line) => /^\s*[^\s#]/.test(line)).length;
    const nodes = first.command.launcher.find(({ name }) => /^--nnodes$/.test(name));
    const [value] = nodes?.values ?? [];
    if (value?.unknown === undefined) {
      if (nodes !== undefined && value?.text !== String(hosts))
        draft.refuse(
          { what: '--nnodes', line: nodes.line },
          value?.text,
          `must be ${String(hosts)}, the lines of ${hostfile}`,
          'Correct one of the two, or leave out --hostfile.',
        );
      return first;
    }
    if (value.unknown.name === undefined) return first;
    return withOneLaunch(draft, readScript(text, new Map([[value.unknown.name, String(hosts)]])));
  } catch (error) {
    if (!(error instanceof LexError)) throw error;
    draft.refuse(
      { what: scriptFile, line: error.line },
      text.split('\n')[error.line - 1]?.trim(),
      `must be a whole script, but ${error.message}`,
      'Close it; "bash -n" finds the place too.',
    );
    return undefined;
  }
}

function withOneLaunch(draft: Draft, script: Script): { script: Script; command: Command } | undefined {
  const [launch, second] = script.launches;
  if (launch === undefined || second !== undefined) {
    const hidden = script.remarks.find(({ source }) => /\btorchrun\b|torch\.distributed/.test(source));
    draft.refuse(
      {
        what: 'torchrun',
        ...(second === undefined ? (hidden === undefined ? {} : { line: hidden.line }) : { line: second.line }),
      },
      second === undefined ? hidden?.source : 'a second one',
      'must stand in the script once, outside of any if, loop or function',
      'Keep one line that begins with torchrun, and import it.',
    );
    return undefined;
  }
  const command = readCommand(launch);
  const { entry } = command;
  if (entry?.unknown === undefined && ENTRIES.includes(basename(entry?.text ?? ''))) return { script, command };
  draft.refuse(
    { what: 'the program of torchrun', line: entry?.line ?? launch.line },
    entry?.text,
    entry?.unknown === undefined ? `must be ${ENTRIES.join(' or ')}` : `must be known, but it ${entry.unknown.why}`,
    'Import a script that trains InternVL or Qwen2.5-VL with MindSpeed MM.',
  );
  return undefined;
}

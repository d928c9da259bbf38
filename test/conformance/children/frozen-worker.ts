/**
 * A control worker that freezes as a process does that gets no time: in the middle of creating an object, after its bytes are written and
 * before they have their name. Reads acts, one a line; says when it freezes, whether its object was then the first, and what the act came to.
 */
import { createInterface } from 'node:readline';
import { FolderRoot } from '../../../src/storage/folder-root.js';
import { FolderStore } from '../../../src/storage/folder-store.js';
import { attempt, type ControlAct } from '../../support/control-act.js';

const say = (what: object): void => void process.stdout.write(`${JSON.stringify(what)}\n`);

// eslint-disable-next-line @typescript-eslint/unbound-method -- it is called with the `this` of its caller
const { reveal } = FolderRoot.prototype;
let ending: string | undefined;
FolderRoot.prototype.reveal = async function (temporary, path) {
  if (ending === undefined || !path.endsWith(ending)) return reveal.call(this, temporary, path);
  ending = undefined;
  say({ frozen: path });
  process.kill(process.pid, 'SIGSTOP');
  const isMine = await reveal.call(this, temporary, path);
  say({ isMine });
  return isMine;
};

for await (const line of createInterface({ input: process.stdin })) {
  const { folder, act, at } = JSON.parse(line) as Readonly<{ folder: string; act: ControlAct; at: string }>;
  ending = at;
  say({ outcome: await attempt(new FolderStore(folder), act) });
}

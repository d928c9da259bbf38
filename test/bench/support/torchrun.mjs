/** Two nodes of one training under torchrun alone, on this machine: it restarts its ranks by itself, from what they last saved. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { findFreePort } from '../../../dist/process/free-port.js';
import { UserError } from '../../../scripts/lib/say.mjs';
import { prepareStage } from './plan-stage.mjs';
import { rowsOf } from './recoveries.mjs';
import { until } from './until.mjs';

/** @import { ChildProcess } from 'node:child_process' */
/** @import { HoleValues, Plan } from '../../../dist/plan/plan.js' */
/** @import { Row } from './recoveries.mjs' */

const RESTARTS = '1000';
/** Else torchrun 2.7.1 tells a node that comes back nothing of the new master: all wait a minute for each other and end (dynamic_rendezvous.py:1205). */
const OWN_STORE = { TORCH_DISABLE_SHARE_RDZV_TCP_STORE: '1' };

export class TorchrunNodes {
  #folder;
  #plan;
  #values;
  #rendezvous;
  /** @type {ChildProcess[]} */
  #nodes = [];

  /** One node may go on alone: torchrun's own rendezvous decides. @param {{ folder: string, plan: Plan, values: HoleValues, conf?: string }} of */
  static async start({ folder, plan, values, conf }) {
    const port = String(await findFreePort());
    const endpoint = ['--rdzv_backend', 'c10d', '--rdzv_endpoint', `127.0.0.1:${port}`, '--rdzv_id', 'bench'];
    // Whose torchrun is killed must not be the one that keeps the rendezvous: that is the end of all.
    const confOf = (/** @type {number} */ node) => [`is_host=${String(node === 0)}`, ...(conf ? [conf] : [])].join();
    const rendezvous = (/** @type {number} */ node) => ['--nnodes', '1:2', ...endpoint, '--rdzv_conf', confOf(node)];
    const save = join(folder, 'save');
    mkdirSync(folder, { recursive: true });
    // As people run it: what is loaded is what was saved, so that a restart goes on from there.
    cpSync(values.converted ?? '', save, { recursive: true });
    const nodes = new TorchrunNodes(folder, plan, { ...values, load: save, save }, rendezvous);
    for (const node of [0, 1]) nodes.startNode(node);
    return nodes;
  }

  /** @param {string} folder @param {Plan} plan @param {HoleValues} values @param {(node: number) => string[]} rendezvous */
  constructor(folder, plan, values, rendezvous) {
    this.#folder = folder;
    this.#plan = plan;
    this.#values = values;
    this.#rendezvous = rendezvous;
    // Also when the bench is interrupted; their ranks die with them.
    process.once('exit', () => this.#nodes.forEach((node) => node.kill('SIGKILL')));
  }

  /** @param {number} node */
  startNode(node) {
    const work = join(this.#folder, `node-${String(node)}`);
    const [command] = prepareStage(this.#plan.stages.train, {
      ...this.#values,
      work,
      nodeRank: String(node),
      masterPort: '0',
    });
    if (command === undefined) throw new UserError('The plan has no command that trains.');
    const script = command.args.findIndex((argument) => argument.endsWith('.py'));
    const args = [
      ...['--nproc_per_node', '1', '--max-restarts', RESTARTS, ...this.#rendezvous(node)],
      ...command.args.slice(script),
    ];
    const log = openSync(join(work, 'torchrun.log'), 'a');
    this.#nodes[node] = spawn(command.program, args, {
      cwd: command.cwd,
      env: { ...command.env, ...OWN_STORE },
      stdio: ['ignore', log, log],
    });
  }

  /** @returns {Row[]} */
  rows() {
    return rowsOf([0, 1].map((node) => join(this.#folder, `node-${String(node)}`, 'metrics.jsonl')));
  }

  /** The last iteration that was saved. */
  saved() {
    const tracker = join(this.#folder, 'save', 'latest_checkpointed_iteration.txt');
    return Number(existsSync(tracker) ? readFileSync(tracker, 'utf8') : '0') || 0;
  }

  /** @param {number} node @returns {number[]} torchrun's own pid first, then its ranks' */
  pids(node) {
    const torchrun = this.#nodes[node]?.pid;
    return torchrun === undefined ? [] : [torchrun, ...childrenOf(torchrun)];
  }

  /** Until both nodes train, and a save of theirs is older than some iterations. @param {number} iterations */
  async trainsPast(iterations) {
    let ranks = '';
    let since = 0;
    return until('torchrun trains on both nodes', () => {
      // While a node that has come back waits to be let in, the other one still trains alone.
      const both = [0, 1].map((node) => this.pids(node)[1]);
      if (both.includes(undefined)) return undefined;
      if (both.join() !== ranks) since = Date.now() / 1000;
      ranks = both.join();
      const now = this.rows().filter(({ at }) => at > since);
      const last = now.at(-1)?.iteration ?? 0;
      const saved = this.saved();
      return saved > (now[0]?.iteration ?? Infinity) && last >= saved + iterations ? true : undefined;
    });
  }

  async end() {
    for (const node of this.#nodes) {
      if (node.exitCode !== null || node.signalCode !== null) continue;
      const gone = once(node, 'exit');
      node.kill('SIGKILL'); // its ranks die with it
      await gone;
    }
  }
}

/** @param {number} parent */
export function childrenOf(parent) {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && statOf(pid)?.ppid === parent);
}

/** @param {number} pid */
function statOf(pid) {
  try {
    const fields = readFileSync(`/proc/${String(pid)}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    return { ppid: Number(fields[1]) };
  } catch {
    return undefined; // It has ended.
  }
}
